"""What every attention op asks of its arguments."""

import jax.numpy as jnp

from simplex.types import Array

DTYPES = ("float32", "bfloat16", "float16")


def check_sizes(T: int, S: int, H: int, G: int) -> None:
  """Raises a ValueError unless 1 <= T <= S and G divides H."""
  if not 1 <= T <= S:
    raise ValueError(f"{T=} queries are not between 1 and {S=}, the keys")
  if G < 1 or H % G:
    raise ValueError(f"{H=} heads are not a multiple of {G=}, the key heads")


def check_shapes(expected: tuple[int, ...], **arrays: Array) -> None:
  """Raises a ValueError that names the first array of another shape."""
  for name, x in arrays.items():
    if x.shape != expected:
      raise ValueError(f"{name}.shape={x.shape} is not {expected}")


def check_dtypes(**arrays: Array) -> None:
  """Raises a ValueError unless all have one dtype out of `DTYPES`."""
  dtypes = [str(x.dtype) for x in arrays.values()]
  if dtypes[0] not in DTYPES or len(set(dtypes)) > 1:
    names = ", ".join(arrays)
    raise ValueError(f"dtypes of {names}={dtypes} are not one of {DTYPES}")


def check_segments(segments_BS: Array | None, B: int, S: int) -> None:
  """Raises a ValueError unless it is None or integers `[B, S]`."""
  if segments_BS is None:
    return
  check_shapes((B, S), segments_BS=segments_BS)
  if not jnp.issubdtype(segments_BS.dtype, jnp.integer):
    raise ValueError(f"{segments_BS.dtype=} is not an integer type")


def padding(padding_B: Array | None, batch_size: int) -> Array:
  """How much of each text is padding, 0 for None, of the shape `[B]`."""
  if padding_B is None:
    padding_B = jnp.zeros(batch_size, jnp.int32)
  check_shapes((batch_size,), padding_B=padding_B)
  return padding_B
