"""Losses on sequences of tokens."""

import chex
import jax.numpy as jnp
import optax

from simplex.types import Array, Metrics


def nll(logits_BTV: Array, targets_BT: Array) -> Array:
  """Negative log-likelihood of each target, in nats, `[B, T]`, float32."""
  chex.assert_equal_shape_prefix([logits_BTV, targets_BT], 2)
  return optax.softmax_cross_entropy_with_integer_labels(
    logits_BTV.astype(jnp.float32), targets_BT
  )


def next_token(
  logits_BTV: Array, targets_BT: Array, mask_BT: Array | None = None
) -> tuple[Array, Metrics]:
  """Mean cross-entropy, in nats, and accuracy.

  Args:
    logits_BTV: scores of the tokens.
    targets_BT: the tokens that came next.
    mask_BT: weights of the positions, 0 or 1; None counts all of them.

  Returns:
    The loss, a scalar, and the metric "accuracy" in [0, 1].
  """
  nll_BT = nll(logits_BTV, targets_BT)
  mask_BT = jnp.ones(targets_BT.shape) if mask_BT is None else mask_BT
  chex.assert_equal_shape([targets_BT, mask_BT])
  hit_BT = jnp.argmax(logits_BTV, axis=-1) == targets_BT
  total = jnp.maximum(mask_BT.sum(), 1)
  loss = jnp.sum(nll_BT * mask_BT) / total
  return loss, {"accuracy": jnp.sum(hit_BT * mask_BT) / total}
