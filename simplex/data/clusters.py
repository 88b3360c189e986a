"""Points around centres: classes as many, and as hard, as one likes."""

import jax
import jax.numpy as jnp

from simplex.types import Array, Key


def gaussian(
  key: Key, *, classes: int, width: int, per_class: int, spread: float
) -> tuple[Array, Array]:
  """Equally many points around each of K random centres, in order of class.

  Centres and, times `spread`, what is added to them are standard normal.

  Args:
    key: decides centres and points.
    classes: K, at least 2.
    width: E, at least 1.
    per_class: points of each class, at least 1.
    spread: deviation of points from their centre, at least 0.

  Returns:
    x_NE and labels_N, with N = K * per_class.

  Raises:
    ValueError: an argument is out of its range.
  """
  for name, value, least in (
    ("classes", classes, 2),
    ("width", width, 1),
    ("per_class", per_class, 1),
    ("spread", spread, 0),
  ):
    if not value >= least:
      raise ValueError(f"{name}={value} must be at least {least}")
  centre_key, point_key = jax.random.split(key)
  centre_KE = jax.random.normal(centre_key, (classes, width))
  labels_N = jnp.repeat(jnp.arange(classes), per_class)
  noise_NE = jax.random.normal(point_key, (classes * per_class, width))
  return centre_KE[labels_N] + spread * noise_NE, labels_N
