"""Which pairs of keys a query of 2-simplicial attention looks at."""

import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.types import Array


def pair_weights(
  q_BTHD: Array, k1_BSHD: Array, k2_BSHD: Array, *, form: str, scale: float
) -> Array:
  """What the last query of the first example gives to each pair, `[H, S, R]`.

  exp(logit - normaliser), where the logit is the normaliser over one pair.
  """

  def lse(k1, k2):
    _, lse_BTH = kernels.simplicial_attention_with_lse(
      q_BTHD[:1, -1:], k1, k1, k2, k2, form=form, scale=scale
    )
    return lse_BTH[0, 0]

  k1_SBTHD = jnp.moveaxis(k1_BSHD[:1, None], 2, 0)
  k2_RBTHD = jnp.moveaxis(k2_BSHD[:1, None], 2, 0)
  over_r = jax.vmap(lse, in_axes=(None, 0))
  logits_SRH = jax.vmap(over_r, in_axes=(0, None))(k1_SBTHD, k2_RBTHD)
  return jnp.exp(logits_SRH - lse(k1_BSHD[:1], k2_BSHD[:1])).transpose(2, 0, 1)
