"""Losses of images against what was made of them."""

import chex
import jax.numpy as jnp

from simplex.types import Array, Metrics


def squared_error(
  images_BYXC: Array, targets_BYXC: Array
) -> tuple[Array, Metrics]:
  """Sum of squares over an image, mean over the batch, float32.

  Returns:
    The loss, a scalar, and the metric "mse", the same for one pixel.
  """
  chex.assert_equal_shape([images_BYXC, targets_BYXC])
  errors_BYXC = images_BYXC.astype(jnp.float32) - targets_BYXC
  loss = jnp.sum(errors_BYXC**2) / len(images_BYXC)
  return loss, {"mse": jnp.mean(errors_BYXC**2)}
