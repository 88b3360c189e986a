"""Compiles the attention ops for a TPU that is not here.

  python -m tests.kernels.compile_tpu v5e:2x2

The compiler of TPUs, `libtpu`, needs no TPU. It refuses what the interpreter
and the lowering let pass, such as blocks that do not fit in VMEM. Nothing is
run. `make compile-tpu` does this for each kind of TPU.
"""

import sys
import time
from unittest import mock

import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels import backend
from trainers import topologies

SIMPLICIAL = {
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
FORGETTING = {
  "forgetting": dict(H=12, G=12, T=16384, D=64, dtype="bfloat16"),
  "forgetting_long": dict(
    H=8, G=2, T=65536, D=128, dtype="bfloat16", prune="online"
  ),
  "forgetting_short": dict(
    H=4, G=1, T=72, D=24, dtype="bfloat16", prune="paper"
  ),
  "forgetting_wide": dict(
    H=6,
    G=2,
    T=1000,
    S=1700,
    D=256,
    dtype="float32",
    prune="online",
    window=900,
    segments=True,
  ),
}
CASES = SIMPLICIAL | FORGETTING


def value_and_grads(device, name):
  """A case's forward and backward pass as a program for the device."""
  settings = dict(CASES[name])
  T, H, G, D = (settings.pop(axis) for axis in "THGD")
  S, dtype = settings.pop("S", T), settings.pop("dtype")
  segments = settings.pop("segments", False)
  place = jax.sharding.SingleDeviceSharding(device)
  like = lambda shape, dtype: jax.ShapeDtypeStruct(shape, dtype, sharding=place)
  key = like((1, S, G, D), dtype)
  if name in SIMPLICIAL:
    op, rest = kernels.simplicial_attention, (key, key)
  else:
    op, rest = kernels.forgetting_attention, (like((1, S, H), "float32"),)
  segments_BS = like((1, S), jnp.int32) if segments else None

  def fn(segments_BS, *arrays):
    call = lambda *xs: op(
      *xs, segments_BS=segments_BS, **settings, implementation="tpu_pallas"
    )
    out, vjp = jax.vjp(call, *arrays)
    return out, vjp(out)

  q_BTHD = like((1, T, H, D), dtype)
  traced = jax.jit(fn).trace(segments_BS, q_BTHD, key, key, *rest)
  return traced.lower(lowering_platforms=("tpu",))


def main(topology: str, *names: str) -> None:
  device = topologies.find(topology)[0]
  for name in names or CASES:
    start = time.time()
    with mock.patch.object(backend, "platform", return_value="tpu"):
      compiled = value_and_grads(device, name).compile()
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
