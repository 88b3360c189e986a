"""Mixers that can go on where a text ended, with a cache of what they saw."""

from typing import NamedTuple

from flax import linen as nn
import jax.numpy as jnp

from simplex.kernels.forgetting_attention import decode
from simplex.kernels.simplicial_attention import decode as simplicial_decode
from simplex.types import Array


class Cache(NamedTuple):
  """What a mixer keeps of the tokens before; all None is a text that is whole.

  Attributes:
    attention: what the op keeps, of one kind or another; both know where each
      text starts, and how long they are.
    key_B1GD: the key of the newest token, before it is mixed with others; None
      where none are mixed.
    value_B1GD: its value, likewise.
  """

  attention: decode.Cache | simplicial_decode.Cache | None = None
  key_B1GD: Array | None = None
  value_B1GD: Array | None = None


class CachedMixer(nn.Module):
  """A mixer of whole texts, and of the next tokens of one.

  A subclass has the fields of attention, and a compact method
  `_mix(x_BTE, positions_BT, segments_BT, cache) -> (y_BTE, cache)`. One with
  two key axes has an `init_cache` of its own.
  """

  def __call__(
    self, x_BTE: Array, positions_BT: Array, segments_BT: Array | None = None
  ) -> Array:
    y_BTE, _ = self._mix(x_BTE, positions_BT, segments_BT, Cache())
    return y_BTE

  def init_cache(
    self,
    batch_size: int,
    length: int,
    width: int,
    padding_B: Array | None = None,
  ) -> Cache:
    """The cache of texts that have not begun; it needs no parameters.

    Args:
      batch_size: B.
      length: how many tokens a later one can see, at most; see `decode`.
      width: E.
      padding_B: how many of the first tokens of each text are padding, for
        prompts of different length; None is 0.
    """
    G, D = self._key_shape(width)
    attention = decode.init(
      batch_size,
      min((length, *self.windows)),
      self.num_heads,
      G,
      D,
      dtype=self.dtype,
      padding_B=padding_B,
    )
    nothing_B1GD = jnp.zeros((batch_size, 1, G, D), self.dtype)
    return Cache(attention, nothing_B1GD, nothing_B1GD)

  def _key_shape(self, width):
    """Key heads, and the width of a head, G and D."""
    G = self.num_key_heads or self.num_heads
    return G, self.head_width or width // self.num_heads

  def extend(self, x_BTE: Array, cache: Cache) -> tuple[Array, Cache]:
    """The outputs of the next T tokens, and the cache after them.

    Chunks, one after another, have the outputs of `__call__` over the whole.

    Raises:
      ValueError: the mixer sees the future, or leaves out what has been asked.
    """
    causal = getattr(self, "causal", True)
    if not causal or self.num_queries is not None:
      raise ValueError(
        f"extend() needs causal=True and num_queries=None, not {causal=} and "
        f"num_queries={self.num_queries}"
      )
    T = x_BTE.shape[1]
    positions_BT = cache.attention.length + jnp.arange(T)[None]
    segments_BT = decode.segments(cache.attention, T)
    return self._mix(x_BTE, positions_BT, segments_BT, cache)


def shift(
  k_BTGD: Array,
  share_BTG: Array | float,
  before_B1GD: Array | None,
  segments_BT: Array | None,
) -> Array:
  """Keys or values mixed with those of the token before, in its segment.

  `share k_{t-1} + (1 - share) k_t`, where what is before the first token, as
  padding is, is 0.

  Args:
    k_BTGD: keys or values.
    share_BTG: how much of the token before; in [0, 1].
    before_B1GD: the key before the first; None is 0.
    segments_BT: as of the ops; None is one segment.
  """
  if before_B1GD is None:
    before_B1GD = jnp.zeros_like(k_BTGD[:, :1])
  previous_BTGD = jnp.concatenate([before_B1GD, k_BTGD[:, :-1]], axis=1)
  if segments_BT is not None:
    same_BT = segments_BT[:, 1:] == segments_BT[:, :-1]
    same_BT = jnp.pad(same_BT, ((0, 0), (1, 0)), constant_values=True)
    previous_BTGD = jnp.where(same_BT[..., None, None], previous_BTGD, 0)
  share = jnp.asarray(share_BTG, jnp.float32)[..., None]
  return (share * previous_BTGD + (1 - share) * k_BTGD).astype(k_BTGD.dtype)


def newest(k_BTGD: Array, segments_BT: Array | None) -> Array:
  """What the next token has before it: the last key, or 0 if it is padding."""
  last_B1GD = k_BTGD[:, -1:]
  if segments_BT is None:
    return last_B1GD
  return jnp.where(segments_BT[:, -1:, None, None] >= 0, last_B1GD, 0)
