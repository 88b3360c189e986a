"""Denoisers whose fixed points are known: oracles for everything else here.

Both obey Tweedie's formula, r(x) - x = sigma^2 * grad log p_sigma(x).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from simplex.types import Array


def mean_shift(points_ND: Array, sigma: float) -> Callable[[Array], Array]:
  """The best denoiser of N points under Gaussian noise.

  r(x) = sum_i softmax_i(-|x - x_i|^2 / (2 sigma^2)) x_i, which is a step of
  mean shift, and of a modern Hopfield network (Ramsauer et al. 2021). Its
  Jacobian is the covariance under these weights over sigma^2: symmetric and
  positive. Every point is an attractor for a small sigma, their mean alone for
  a large one.

  Args:
    points_ND: what was memorised.
    sigma: standard deviation of the noise, above 0.

  Raises:
    ValueError: `sigma` is not above 0.
  """
  _check_sigma(sigma)

  return jax.tree_util.Partial(_shift, points_ND, sigma)


def _shift(points_ND, sigma, x_D):
  # |x|^2 is the same for all points and cancels.
  logits_N = (points_ND @ x_D - jnp.sum(points_ND**2, 1) / 2) / sigma**2
  return jax.nn.softmax(logits_N) @ points_ND


def linear_gaussian(
  covariance_DD: Array, sigma: float
) -> Callable[[Array], Array]:
  """The best denoiser of N(0, C): f(z) = C (C + sigma^2 I)^-1 z.

  One attractor, 0, of spectral radius l / (l + sigma^2) with l the largest
  eigenvalue of C.

  Args:
    covariance_DD: C, symmetric and positive semi-definite.
    sigma: standard deviation of the noise, above 0.

  Raises:
    ValueError: `sigma` is not above 0.
  """
  _check_sigma(sigma)
  noisy_DD = covariance_DD + sigma**2 * jnp.eye(len(covariance_DD))
  gain_DD = jnp.linalg.solve(noisy_DD, covariance_DD).T
  return lambda z_D: gain_DD @ z_D


def _check_sigma(sigma):
  if not sigma > 0:
    raise ValueError(f"sigma={sigma} must be above 0")
