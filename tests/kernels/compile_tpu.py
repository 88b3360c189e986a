"""Compiles 2-simplicial attention for a TPU that is not here.

  python -m tests.kernels.compile_tpu v5e:2x2

The compiler of TPUs, `libtpu`, needs no TPU. It refuses what the interpreter
and the lowering let pass, such as blocks that do not fit in VMEM. Nothing is
run. `make compile-tpu` does this for each kind of TPU.
"""

import os
import sys
import time
from unittest import mock

import jax
from jax.experimental import topologies
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels import backend

# Without them libtpu asks the network for the machine that it is on.
ENVIRONMENT = {
  "TPU_ACCELERATOR_TYPE": "v5litepod-4",
  "TPU_SKIP_MDS_QUERY": "1",
  "TPU_WORKER_HOSTNAMES": "localhost",
  "TPU_WORKER_ID": "0",
}
CASES = {
  "paper": dict(H=64, G=1, T=2048, D=128, windows=(32, 512), dtype="bfloat16"),
  "own_keys": dict(H=8, G=8, T=2048, D=64, windows=(32, 512), dtype="float32"),
  "two_terms": dict(
    H=6,
    G=2,
    T=512,
    D=256,
    windows=(None, None),
    dtype="float32",
    form="determinant",
    segments=True,
  ),
  "sum": dict(
    H=8,
    G=2,
    T=1000,
    D=24,
    windows=(600, 100),
    dtype="bfloat16",
    form="strassen",
    causal=False,
  ),
}


def value_and_grads(device, H, G, T, D, dtype, segments=False, **settings):
  """The op's forward and backward pass as a program for the device."""
  place = jax.sharding.SingleDeviceSharding(device)
  like = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=place)
  q_BTHD = like((1, T, H, D), dtype)
  keys = (like((1, T, G, D), dtype),) * 4
  segments = (like((1, T), jnp.int32),) if segments else ()

  def fn(*arrays):
    arrays, rest = arrays[:5], arrays[5:]
    named = dict(zip(("segments_BS",), rest, strict=False))
    op = lambda *xs: kernels.simplicial_attention(
      *xs, **named, **settings, implementation="tpu_pallas"
    )
    out, vjp = jax.vjp(op, *arrays)
    return out, vjp(out)

  traced = jax.jit(fn).trace(q_BTHD, *keys, *segments)
  return traced.lower(lowering_platforms=("tpu",))


def main(topology: str, *names: str) -> None:
  os.environ.update(ENVIRONMENT)
  jax.config.update("jax_platforms", "cpu")
  device = topologies.get_topology_desc(topology, "tpu").devices[0]
  for name in names or CASES:
    start = time.time()
    with mock.patch.object(backend, "platform", return_value="tpu"):
      compiled = value_and_grads(device, **CASES[name]).compile()
    calls = compiled.as_text().count('custom_call_target="tpu_custom_call"')
    memory = compiled.memory_analysis()
    print(
      f"{topology} ({device.device_kind}), {name}: {calls} kernels compiled "
      f"for it in {time.time() - start:.0f} s, not run on it; arguments "
      f"{memory.argument_size_in_bytes / 2**20:.0f} MiB, temporary "
      f"{memory.temp_size_in_bytes / 2**20:.0f} MiB",
      flush=True,
    )


if __name__ == "__main__":
  main(*sys.argv[1:])
