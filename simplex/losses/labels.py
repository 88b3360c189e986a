"""Losses of classifiers that give one label to each input."""

import chex
import jax.numpy as jnp
import optax

from simplex.types import Array, Metrics


def cross_entropy(
  logits_NK: Array, labels_N: Array, *, temperature: float | Array = 1.0
) -> tuple[Array, Metrics]:
  """Mean of -log softmax(z / T) at the label, in nats, and accuracy.

  Args:
    logits_NK: z, scores of the classes.
    labels_N: integers in [0, K).
    temperature: T, above 0; it has no part in the accuracy.

  Returns:
    The loss, a scalar, and the metric "accuracy" in [0, 1].
  """
  chex.assert_equal_shape_prefix([logits_NK, labels_N], 1)
  nll_N = optax.softmax_cross_entropy_with_integer_labels(
    logits_NK / temperature, labels_N
  )
  hit_N = jnp.argmax(logits_NK, axis=-1) == labels_N
  return jnp.mean(nll_N), {"accuracy": jnp.mean(hit_N)}
