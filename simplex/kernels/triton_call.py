"""The only line that calls jax_triton: its names change between versions.

Beside it, what the GPU kernels of every op have in common.
"""

from collections.abc import Sequence
import importlib.util

import jax

from simplex.kernels import backend, checks
from simplex.types import Array

# What to compile for where there is no GPU to ask.
COMPUTE_CAPABILITY = 90
DEVICE_KIND = "NVIDIA H200"
MAX_D = 256
# float32 products are three of tensor cores: what they leave out is 2^-22 of
# each factor, and without tensor cores the same product spills its registers.
PRECISION = "tf32x3"


def missing() -> str | None:
  """The package that GPU kernels need and that is not installed, or None."""
  for name in ("triton", "jax_triton"):
    if importlib.util.find_spec(name) is None:
      return name
  return None


def unsupported(q_BTHD: Array) -> str | None:
  """Why the kernels of an op cannot run here on such queries, or None."""
  D = q_BTHD.shape[-1]
  if backend.platform() != "gpu":
    return f"it needs an NVIDIA GPU, not {backend.platform()!r}"
  if missing():
    return f"the package {missing()!r} is not installed"
  if D > MAX_D:
    return f"{D=} channels are more than {MAX_D}"
  if str(q_BTHD.dtype) not in checks.DTYPES:
    return f"{q_BTHD.dtype} is not one of {checks.DTYPES}"
  return None


def device_kind() -> str:
  """The name of the GPU that kernels are compiled for."""
  on_gpu = jax.default_backend() == "gpu"
  return jax.devices("gpu")[0].device_kind if on_gpu else DEVICE_KIND


def call(
  kernel,
  *arrays: Array,
  out_shape: Sequence[jax.ShapeDtypeStruct],
  programs: int,
  num_warps: int,
  num_stages: int,
  **constants,
) -> list[Array]:
  """Runs a Triton kernel of parameters `(*arrays, *outputs, *constants)`.

  Numbers go in as constants: a Python float among the arrays would be float64,
  and an integer there is not known to be a multiple of 16, which costs the
  loads of 16 bytes. No constant may be left to its default.

  Args:
    kernel: a `triton.jit` function.
    *arrays: what its first pointers point to.
    out_shape: shapes and types of its outputs.
    programs: size of its grid, of one axis.
    num_warps: warps of a program.
    num_stages: depth of its software pipeline.
    **constants: its `tl.constexpr` parameters, hashable.
  """
  import jax_triton
  import triton

  # Importing jax_triton empties this, and then Triton alone cannot compile.
  if not triton.knobs.cache.dir:
    triton.knobs.setenv("TRITON_CACHE_DIR", None)
  on_gpu = jax.default_backend() == "gpu"
  return jax_triton.triton_call(
    *arrays,
    kernel=kernel,
    out_shape=list(out_shape),
    grid=(programs,),
    num_warps=num_warps,
    num_stages=num_stages,
    compute_capability=None if on_gpu else COMPUTE_CAPABILITY,
    **constants,
  )
