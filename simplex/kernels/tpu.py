"""What the TPU kernels of every op share."""

from jax import lax
import jax.numpy as jnp

from simplex.kernels import backend
from simplex.types import Array

MAX_WIDTH = 256
LANES = 128
# The smallest VMEM of the supported TPUs is 64 MiB (v5p).
VMEM_LIMIT = 48 * 2**20
# Below every logit; unlike -inf it can be subtracted from itself.
LOWEST = -1e38
# Of the lse and delta of rows that fill up a block: exp(logits - lse) is 0
# whatever they hold.
NO_ROW = 1e30


def unsupported(q_BTHD: Array, *arrays, **static) -> str | None:
  """Why these arrays cannot be computed here, or None."""
  del arrays, static
  if backend.platform() != "tpu":
    return f"needs a TPU, but programs are compiled for {backend.platform()!r}"
  if q_BTHD.dtype == jnp.float16:
    return "takes float32 and bfloat16, got float16"
  D = q_BTHD.shape[-1]
  return f"takes at most D={MAX_WIDTH}, got {D=}" if D > MAX_WIDTH else None


def dot(x: Array, y: Array, contract: tuple[int, int]) -> Array:
  """A product of matrices in the dtype of y, summed in float32."""
  exact = y.dtype == jnp.float32
  return lax.dot_general(
    x.astype(y.dtype),
    y,
    (((contract[0],), (contract[1],)), ((), ())),
    precision=lax.Precision.HIGHEST if exact else lax.Precision.DEFAULT,
    preferred_element_type=jnp.float32,
  )


def round_up(x: int, multiple: int) -> int:
  return -(-x // multiple) * multiple
