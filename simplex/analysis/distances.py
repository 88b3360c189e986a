"""Distances between distributions, from samples, and between sets of points.

A distance between two samples is above 0 even where the distributions are the
same. `beside_floor` puts that floor, and a p-value, beside any of them.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.types import Array, Key


class Estimate(NamedTuple):
  """A distance between two samples, and what chance alone would show.

  Attributes:
    value: the distance.
    floor: its mean between samples of these sizes from the pooled sample.
    p_value: of the permutation test that the distributions are the same; the
      least that k relabellings can show is 1 / (k + 1).
  """

  value: Array
  floor: Array
  p_value: Array


class Chamfer(NamedTuple):
  """How far two sets of points are apart.

  Attributes:
    mean: of `forward` and `backward`, which is symmetric: what is usually
      called the Chamfer distance (some authors add the two).
    least: the smallest distance from a point of one to a point of the other.
    forward: from a point of x to the nearest of y, mean over x.
    backward: from a point of y to the nearest of x, mean over y.
  """

  mean: Array
  least: Array
  forward: Array
  backward: Array


def wasserstein(x_N: Array, y_M: Array) -> Array:
  """Wasserstein-1 distance of two samples on a line: int |F - G|, from 0."""
  gap_S, width_S = _gaps(x_N, y_M)
  return jnp.sum(jnp.abs(gap_S) * width_S)


def energy(x_N: Array, y_M: Array) -> Array:
  """Energy distance of two samples on a line (Szekely & Rizzo 2013), from 0.

  2 E|X - Y| - E|X - X'| - E|Y - Y'| = 2 int (F - G)^2. It is the square of a
  metric.
  """
  gap_S, width_S = _gaps(x_N, y_M)
  return 2 * jnp.sum(gap_S**2 * width_S)


def kolmogorov_smirnov(x_N: Array, y_M: Array) -> Array:
  """Largest difference of two samples' distribution functions, 0 to 1."""
  gap_S, width_S = _gaps(x_N, y_M)
  # Between equal values the functions have not both jumped yet.
  return jnp.max(jnp.where(width_S > 0, jnp.abs(gap_S), 0.0))


def kolmogorov_smirnov_to(x_N: Array, cdf: Callable[[Array], Array]) -> Array:
  """Largest difference of a sample's distribution function to `cdf`, 0 to 1."""
  chex.assert_rank(x_N, 1)
  N = x_N.shape[0]
  level_N = cdf(jnp.sort(x_N))
  step_N = jnp.arange(N) / N
  return jnp.maximum(
    jnp.max(level_N - step_N), jnp.max(step_N + 1 / N - level_N)
  )


def kolmogorov_p_value(distance: Array, N: int, M: int | None = None) -> Array:
  """Asymptotic p-value of a Kolmogorov-Smirnov distance (Stephens 1970).

  Args:
    distance: of samples of N and M values, or of one of N to a known law.
    N: size of the first sample.
    M: size of the second; None is a known law.

  Returns:
    0 to 1, within 0.013 of the exact one from N = 100, and closer below 0.1;
    for values that are not discrete.
  """
  root = jnp.sqrt(N if M is None else N * M / (N + M))
  x = (root + 0.12 + 0.11 / root) * distance
  k_K = jnp.arange(1, 101)
  signs_K = jnp.where(k_K % 2 == 1, 2.0, -2.0)
  tail = jnp.sum(signs_K * jnp.exp(-2 * (k_K * x) ** 2))
  # The alternating sum has not converged near 0, where the answer is 1.
  return jnp.where(x < 0.2, 1.0, jnp.clip(tail, 0.0, 1.0))


def sliced_wasserstein(
  key: Key, x_ND: Array, y_MD: Array, *, num_slices: int = 64
) -> Array:
  """Mean Wasserstein-1 over random directions (Rabin et al. 2011), from 0.

  Args:
    key: chooses the directions; the same key compares fairly.
    x_ND: one sample of vectors.
    y_MD: another.
    num_slices: directions, uniform on the sphere.

  Raises:
    ValueError: `num_slices` is below 1.
  """
  if num_slices < 1:
    raise ValueError(f"num_slices={num_slices} must be at least 1")
  chex.assert_rank([x_ND, y_MD], 2)
  directions_KD = jax.random.normal(key, (num_slices, x_ND.shape[1]))
  directions_KD /= jnp.linalg.norm(directions_KD, axis=1, keepdims=True)
  one = lambda direction_D: wasserstein(x_ND @ direction_D, y_MD @ direction_D)
  return jnp.mean(jax.lax.map(one, directions_KD))


def beside_floor(
  key: Key,
  distance: Callable[[Array, Array], Array],
  x_N: Array,
  y_M: Array,
  *,
  relabellings: int = 19,
) -> Estimate:
  """A distance, and what it is when the labels of the samples are shuffled.

  Args:
    key: shuffles.
    distance: of two samples, such as `wasserstein`; their first axis runs over
      independent draws, later ones over parts of one draw.
    x_N: one sample, `[N, ...]`.
    y_M: another, `[M, ...]`.
    relabellings: shuffles; the floor is their mean.

  Raises:
    ValueError: `relabellings` is below 1.
  """
  if relabellings < 1:
    raise ValueError(f"relabellings={relabellings} must be at least 1")
  N = x_N.shape[0]
  pool_S = jnp.concatenate([x_N, y_M])

  def shuffled(key):
    mixed_S = jax.random.permutation(key, pool_S)
    return distance(mixed_S[:N], mixed_S[N:])

  value = distance(x_N, y_M)
  null_K = jax.lax.map(shuffled, jax.random.split(key, relabellings))
  above = jnp.sum(null_K >= value)
  return Estimate(value, null_K.mean(), (1 + above) / (1 + relabellings))


def euclidean(x_ND: Array, y_MD: Array) -> Array:
  """Euclidean distances `[N, M]` of all pairs, from 0."""
  # Not by inner products: points nearer than 1e-3 would lose all digits.
  difference_NMD = x_ND[:, None] - y_MD[None]
  return jnp.sqrt(jnp.sum(difference_NMD**2, axis=-1))


def cosine(x_ND: Array, y_MD: Array) -> Array:
  """One minus the cosine of all pairs, `[N, M]`, 0 to 2; no point may be 0."""
  unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)
  return 1 - unit(x_ND) @ unit(y_MD).T


def chamfer(
  x_ND: Array,
  y_MD: Array,
  *,
  metric: Callable[[Array, Array], Array] = euclidean,
) -> Chamfer:
  """Chamfer distance of two sets of points: mean distances to the nearest.

  It is of the sets as they are, not an estimate: it has no noise floor.

  Args:
    x_ND: one set of points.
    y_MD: another.
    metric: distances of all pairs, `euclidean` or `cosine`.

  Raises:
    ValueError: a set is empty.
  """
  chex.assert_rank([x_ND, y_MD], 2)
  if not x_ND.shape[0] or not y_MD.shape[0]:
    raise ValueError(
      f"sets of {x_ND.shape[0]} and {y_MD.shape[0]} points have no Chamfer "
      "distance; each needs at least 1"
    )
  distance_NM = metric(x_ND, y_MD)
  forward = distance_NM.min(axis=1).mean()
  backward = distance_NM.min(axis=0).mean()
  return Chamfer((forward + backward) / 2, distance_NM.min(), forward, backward)


def _gaps(x_N: Array, y_M: Array) -> tuple[Array, Array]:
  """F - G between neighbouring values of the pooled sample, and their gaps."""
  chex.assert_rank([x_N, y_M], 1)
  N, M = x_N.shape[0], y_M.shape[0]
  if not N or not M:
    raise ValueError(
      f"samples of {N} and {M} values have no distance; each needs at least 1"
    )
  pool_S = jnp.concatenate([x_N, y_M])
  from_x_S = (jnp.arange(N + M) < N).astype(jnp.int32)
  pool_S, from_x_S = jax.lax.sort((pool_S, from_x_S), num_keys=1)
  # Whole numbers: a sum of millions of 1 / N in float32 would drift.
  seen_S = jnp.cumsum(from_x_S)
  gap_S = seen_S / N - (jnp.arange(1, N + M + 1) - seen_S) / M
  return gap_S[:-1], jnp.diff(pool_S)
