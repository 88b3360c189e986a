"""Token mixers: how the positions of a sequence read each other.

A mixer is a module with plain fields, not a transformer's config:
`mixer(x_BTE, positions_BT, segments_BT) -> y_BTE`, causal.
"""

import functools

from flax import linen as nn
import jax.numpy as jnp

from simplex import kernels
from simplex.models import layers
from simplex.types import Array


class Softmax(nn.Module):
  """Causal multi-head softmax attention.

  Attributes:
    num_heads: H; divides the width.
    num_key_heads: G, which divides H; None is H.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    rotary: whether queries and keys turn with their positions.
    shift_keys: whether a key is the mean of its token's and of the token's
      before it (zero before the first), which spares the model one of the two
      layers that copying what followed the last occurrence takes.
    dtype: of the activations; parameters are float32.
  """

  num_heads: int
  num_key_heads: int | None = None
  scale: float | None = None
  rotary: bool = True
  shift_keys: bool = False
  dtype: str = "float32"

  @nn.compact
  def __call__(
    self, x_BTE: Array, positions_BT: Array, segments_BT: Array | None = None
  ) -> Array:
    B, T, E = x_BTE.shape
    D = E // self.num_heads

    def project(x_BTE, features, name):
      dense = nn.Dense(features, use_bias=False, dtype=self.dtype, name=name)
      return dense(x_BTE)

    def heads(num_heads, name):
      y = project(x_BTE, num_heads * D, name)
      return y.reshape(B, T, num_heads, D)

    num_key_heads = self.num_key_heads or self.num_heads
    q_BTHD = heads(self.num_heads, "query")
    k_BTGD = heads(num_key_heads, "key")
    v_BTGD = heads(num_key_heads, "value")
    if self.shift_keys:
      k_BTGD = _mean_with_previous(k_BTGD, segments_BT)
    if self.rotary:
      q_BTHD = layers.rotary(q_BTHD, positions_BT)
      k_BTGD = layers.rotary(k_BTGD, positions_BT)
    y_BTHD = kernels.dot_product_attention(
      q_BTHD, k_BTGD, v_BTGD, scale=self.scale, segments_BS=segments_BT
    )
    return project(y_BTHD.reshape(B, T, E), E, "out")


def _mean_with_previous(k_BTGD, segments_BT):
  previous_BTGD = jnp.pad(k_BTGD, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
  if segments_BT is not None:
    same_BT = segments_BT[:, 1:] == segments_BT[:, :-1]
    same_BT = jnp.pad(same_BT, ((0, 0), (1, 0)))
    previous_BTGD *= same_BT[:, :, None, None]
  return (k_BTGD + previous_BTGD) / 2


MIXERS = {
  "softmax": Softmax,
  "nope": functools.partial(Softmax, rotary=False),
  "softmax_shift": functools.partial(Softmax, shift_keys=True),
}
