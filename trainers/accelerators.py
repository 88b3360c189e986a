"""Memory and peak speed of accelerators, by the names that JAX has for them."""

from collections.abc import Mapping
import re
from typing import NamedTuple

GIB = 2**30


class Accelerator(NamedTuple):
  """What its maker states of one device.

  Attributes:
    memory: bytes.
    peaks: multiplications and additions a second of dense matrices, by dtype of
      the operands as JAX multiplies them unless told otherwise: float32 is
      TF32 on a GPU, and one pass of bfloat16 on a TPU.
  """

  memory: int
  peaks: Mapping[str, float]


def _tpu(gib: int, tera: float) -> Accelerator:
  return Accelerator(
    gib * GIB, dict.fromkeys(_HALF + ("float32",), tera * 1e12)
  )


def _gpu(memory: float, half: float, tf32: float) -> Accelerator:
  peaks = dict.fromkeys(_HALF, half * 1e12) | {"float32": tf32 * 1e12}
  return Accelerator(int(memory), peaks)


_HALF = ("bfloat16", "float16")
# The first pattern that is found in the name counts. TPUs:
# https://cloud.google.com/tpu/docs/system-architecture-tpu-vm; GPUs: NVIDIA's
# data sheets, without sparsity.
KNOWN = {
  "TPU v4$": _tpu(32, 275),
  "TPU v5( lite|e)": _tpu(16, 197),
  "TPU v5p?$": _tpu(95, 459),
  "TPU v6( lite|e)": _tpu(32, 918),
  "A100.*80GB": _gpu(80 * GIB, 312, 156),
  "A100": _gpu(40 * GIB, 312, 156),
  "H100 PCIe": _gpu(80 * GIB, 756, 378),
  "H100": _gpu(80 * GIB, 989, 494),
  "H200": _gpu(143_771e6, 989, 494),
}


def find(device_kind: str) -> Accelerator | None:
  """What is known of a device; None for a CPU and for what is not listed."""
  found = (x for kind, x in KNOWN.items() if re.search(kind, device_kind))
  return next(found, None)
