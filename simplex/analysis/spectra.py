"""Ranks of matrices, from their singular values.

`spectrum` looks at the matrix once; the ranks are functions of what it
returns, so that several ranks, or many thresholds, cost one decomposition.
"""

from typing import Literal

import chex
import jax
import jax.numpy as jnp

from simplex.types import Array

SOURCES = ("matrix", "covariance")


def spectrum(
  x_NE: Array, *, of: Literal["matrix", "covariance"] = "matrix"
) -> Array:
  """Singular values of a matrix, or of the covariance of its rows.

  The covariance is (X - mean)' (X - mean) / (N - 1); its singular values are
  squares, so that a threshold of 1e-3 on them is one of 0.03 on those of the
  centred matrix. They are taken from the matrix, whose condition is better.

  Args:
    x_NE: one row per sample. Within a compiled function the values cannot be
      looked at: one that is not finite makes the result NaN.
    of: "matrix" or "covariance".

  Returns:
    min(N, E) values, at least 0, from the largest to the smallest.

  Raises:
    ValueError: the matrix is empty, or holds a value that is not finite, or
      has one row where a covariance is asked for, or `of` is unknown.
  """
  chex.assert_rank(x_NE, 2)
  if of not in SOURCES:
    raise ValueError(f"of={of!r} is not one of {list(SOURCES)}")
  check_finite("matrix", x_NE)
  N = x_NE.shape[0]
  if of == "matrix":
    return jnp.linalg.svd(x_NE, compute_uv=False)
  if N == 1:
    raise ValueError("a covariance needs at least 2 rows; the matrix has 1")
  centred_NE = x_NE - jnp.mean(x_NE, axis=0)
  return jnp.linalg.svd(centred_NE, compute_uv=False) ** 2 / (N - 1)


def numerical_rank(s_K: Array, threshold: float | Array = 1e-3) -> Array:
  """How many singular values exceed `threshold` times the largest.

  An array of thresholds gives a rank for each: the sensitivity to the choice.

  Args:
    s_K: singular values, the largest first.
    threshold: in [0, 1); a number or an array.

  Returns:
    Whole numbers in the shape of `threshold`, from 0, of a matrix of zeros, to
    K; NaN where a singular value is.

  Raises:
    ValueError: there is no singular value, or a threshold is out of range.
  """
  _check_spectrum(s_K)
  threshold = jnp.asarray(threshold)
  if is_known(threshold) and not bool(
    jnp.all((threshold >= 0) & (threshold < 1))
  ):
    raise ValueError(f"threshold={threshold} must be at least 0 and below 1")
  count = jnp.sum(s_K > threshold[..., None] * s_K[0], axis=-1)
  return jnp.where(jnp.isnan(s_K).any(), jnp.nan, count * 1.0)


def effective_rank(s_K: Array) -> Array:
  """The exponential of the entropy of s / sum(s) (Roy & Vetterli 2007).

  Equal to r for r equal values and else below; 0 for a matrix of zeros.
  """
  _check_spectrum(s_K)
  total = jnp.sum(s_K)
  p_K = s_K / jnp.where(total == 0, 1, total)
  entropy = -jnp.sum(jax.scipy.special.xlogy(p_K, p_K))
  return jnp.where(total == 0, 0, jnp.exp(entropy))


def stable_rank(s_K: Array) -> Array:
  """The sum of s^2 / s_1^2, at most the rank (Rudelson & Vershynin 2007).

  0 for a matrix of zeros.
  """
  _check_spectrum(s_K)
  scaled_K = s_K / jnp.where(s_K[0] == 0, 1, s_K[0])
  return jnp.sum(scaled_K**2)


def alignment(x_NE: Array, kernel_EF: Array, directions: int = 1) -> Array:
  """How far the main directions of activations are those a kernel amplifies.

  |V' U|^2 / k, with V the k first right singular vectors of the activations
  and U the k first left singular vectors of the kernel they are multiplied by:
  1 where the two subspaces are one, k / E on average for random ones. For
  k = 1, the squared cosine of the two leading vectors.

  Args:
    x_NE: activations that enter the layer.
    kernel_EF: its kernel.
    directions: k, at most min(N, E, F).

  Returns:
    A number in [0, 1].

  Raises:
    ValueError: a matrix is empty or not finite, or has fewer directions.
  """
  chex.assert_rank([x_NE, kernel_EF], 2)
  chex.assert_equal(x_NE.shape[1], kernel_EF.shape[0])
  check_finite("activations", x_NE)
  check_finite("kernel", kernel_EF)
  most = min(*x_NE.shape, *kernel_EF.shape)
  if not 1 <= directions <= most:
    raise ValueError(f"directions={directions} must be from 1 to {most}")
  v_KE = jnp.linalg.svd(x_NE, full_matrices=False)[2][:directions]
  u_EK = jnp.linalg.svd(kernel_EF, full_matrices=False)[0][:, :directions]
  return jnp.sum((v_KE @ u_EK) ** 2) / directions


def check_finite(name: str, x: Array) -> None:
  """Raises a ValueError when an array is empty or, where known, not finite."""
  if not x.size:
    raise ValueError(f"{name} of the shape {x.shape} is empty")
  if is_known(x) and not bool(jnp.isfinite(x).all()):
    count = int(jnp.sum(~jnp.isfinite(x)))
    raise ValueError(
      f"{name} of the shape {x.shape} has {count} values that are not finite"
    )


def _check_spectrum(s_K: Array) -> None:
  chex.assert_rank(s_K, 1)
  if not s_K.shape[0]:
    raise ValueError("there is no singular value: the matrix is empty")


def is_known(x: Array) -> bool:
  """Whether there are values to look at, as there are not while tracing."""
  return not isinstance(x, jax.core.Tracer)
