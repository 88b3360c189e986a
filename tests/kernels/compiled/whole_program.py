"""Compiles ops, values and gradients, for an H200: XLA's whole pipeline.

`make compile-gpu`. There is no GPU here: what is printed is compiled for one,
not run on one.
"""

import functools
from unittest import mock

import jax

from simplex import kernels
from simplex.kernels import backend
from tests.kernels import conformance
from trainers import topologies

# (B, T, H, G, D), settings.
SIMPLICIAL = (
  ((1, 8192, 64, 1, 128), dict(windows=(32, 512))),
  ((1, 16384, 64, 1, 128), dict(windows=(32, 512))),
  ((4, 4096, 16, 16, 64), dict(windows=(32, 512))),
  ((4, 8192, 16, 16, 64), dict(windows=(32, 512))),
  ((1, 2048, 8, 8, 64), dict(windows=(None, None))),
)
FORGETTING = (
  ((2, 16384, 16, 16, 64), dict()),
  ((2, 16384, 16, 16, 64), dict(prune="online")),
  ((1, 16384, 16, 4, 128), dict(prune="paper", window=4096)),
)


def main():
  (device,) = topologies.find("h200:1")
  sharding = jax.sharding.SingleDeviceSharding(device)
  array = functools.partial(jax.ShapeDtypeStruct, sharding=sharding)
  print(f"jax {jax.__version__}: compiled for an H200, not run on one")
  for sizes, settings in SIMPLICIAL:
    q, key = _rows(array, *sizes)
    _compile(kernels.simplicial_attention, sizes, settings, q, *[key] * 4)
  for sizes, settings in FORGETTING:
    q, key = _rows(array, *sizes)
    gates = array(q.shape[:3], "float32")
    _compile(kernels.forgetting_attention, sizes, settings, q, key, key, gates)


def _rows(array, B, T, H, G, D):
  return (array((B, T, heads, D), "bfloat16") for heads in (H, G))


def _compile(op, sizes, settings, *arrays):
  """Prints the memory of an op and its gradients."""
  op = functools.partial(op, implementation="gpu_triton", **settings)
  fn = functools.partial(conformance.value_and_grads, op)
  with mock.patch.object(backend, "platform", lambda: "gpu"):
    traced = jax.jit(fn).trace(*arrays)
  program = traced.lower(lowering_platforms=("cuda",)).compile()
  memory = program.memory_analysis()
  print(
    f"{op.func.__name__}, B, T, H, G, D = {sizes}, {settings}: "
    f"{memory.temp_size_in_bytes / 2**20:.0f} MiB of temporary memory, "
    f"{memory.argument_size_in_bytes / 2**20:.0f} MiB of arguments"
  )


if __name__ == "__main__":
  main()
