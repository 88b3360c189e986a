"""Compiles the op, value and gradients, for an H200: XLA's whole pipeline.

`make compile-gpu`. There is no GPU here: what is printed is compiled for one,
not run on one.
"""

import pathlib
from unittest import mock

import jax
from jax.experimental import topologies

from simplex.kernels import backend
from simplex.kernels.simplicial_attention import api
from tests.kernels import conformance

DEVICE = pathlib.Path(__file__).with_name("h200.txtpb")
# (B, T, H, G, D), windows.
CASES = (
  ((1, 8192, 64, 1, 128), (32, 512)),
  ((1, 16384, 64, 1, 128), (32, 512)),
  ((4, 4096, 16, 16, 64), (32, 512)),
  ((4, 8192, 16, 16, 64), (32, 512)),
  ((1, 2048, 8, 8, 64), (None, None)),
)


def main():
  topology = topologies.get_topology_desc(
    "H200",
    platform="cuda",
    topology="1x1x1",
    target_config=DEVICE.read_text(),
  )
  sharding = jax.sharding.SingleDeviceSharding(topology.devices[0])
  print(f"jax {jax.__version__}: compiled for an H200, not run on one")
  for sizes, windows in CASES:
    B, T, H, G, D = sizes
    q, key = (
      jax.ShapeDtypeStruct((B, T, heads, D), "bfloat16", sharding=sharding)
      for heads in (H, G)
    )

    def fn(*xs, windows=windows):
      op = lambda *xs: api.simplicial_attention(
        *xs, windows=windows, implementation="gpu_triton"
      )
      return conformance.value_and_grads(op, *xs)

    with mock.patch.object(backend, "platform", lambda: "gpu"):
      traced = jax.jit(fn).trace(q, key, key, key, key)
    program = traced.lower(lowering_platforms=("cuda",)).compile()
    memory = program.memory_analysis()
    print(
      f"B, T, H, G, D = {sizes}, {windows=}: "
      f"{memory.temp_size_in_bytes / 2**20:.0f} MiB of temporary memory, "
      f"{memory.argument_size_in_bytes / 2**20:.0f} MiB of arguments"
    )


if __name__ == "__main__":
  main()
