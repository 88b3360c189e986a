"""Moments of random attention layers: exact, or with standard errors.

In the infinite-width limit an output is Gaussian given the scores, with the
covariance Q = H^{-1} sum_a A^a Sigma A^a^T between tokens. Hence the kernel
E[Q], and an excess kurtosis of 3 Var(Q_tt) / E[Q_tt]^2, which is 1 / H times
that of one head: it is 0 for infinitely many heads alone
(https://arxiv.org/abs/2506.00846, Theorem 3.1; the closed forms are derived
from it here).

E[Q] is the kernel of infinitely many heads (Hron et al. 2020) for scores over
sqrt(d), for which neural-tangents has no closed form and raises.
"""

from collections.abc import Sequence
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.types import Array


class Moments(NamedTuple):
  """Of one coordinate of an attention layer's output.

  Attributes:
    kernel: covariance of the tokens `[T, T]`: on the diagonal the variances.
    kurtosis: excess kurtosis of every token `[T]`; 0 is Gaussian.
  """

  kernel: Array | np.ndarray
  kurtosis: Array | np.ndarray


def estimate(covariances_NTT: Array) -> tuple[Moments, Moments]:
  """Moments from the covariances of `attention_limit.Draws`.

  For phi, Sigma, masks and widths of any kind. The kernel depends on the heads
  only through noise in the limit, and its error is least for many.

  Args:
    covariances_NTT: given all but the last Gaussian vector, of N >= 2 draws.

  Returns:
    The moments, and their standard errors.

  Raises:
    ValueError: there are fewer than two draws.
  """
  N = covariances_NTT.shape[0]
  if N < 2:
    raise ValueError(f"{N} draws have no standard error; at least 2 are needed")
  error = lambda x: x.std(axis=0, ddof=1) / math.sqrt(N)
  kernel_TT = covariances_NTT.mean(axis=0)
  ratio_NT = jnp.diagonal(covariances_NTT, axis1=1, axis2=2)
  ratio_NT = ratio_NT / jnp.diagonal(kernel_TT)
  square_T = jnp.mean(ratio_NT**2, axis=0)
  # First order in the errors of both means (the delta method).
  influence_NT = 3 * (ratio_NT**2 - 2 * square_T * ratio_NT)
  return (
    Moments(kernel_TT, 3 * (square_T - 1)),
    Moments(error(covariances_NTT), error(influence_NT)),
  )


def exchangeable(
  num_tokens: int,
  num_heads: int,
  *,
  variance: float = 1.0,
  correlation: float = 0.0,
) -> Moments:
  """The limit under softmax where all tokens are alike, to eight digits.

  Sigma_tt = v and Sigma_tu = v rho. What tokens share cancels in the softmax,
  so that a row of scores may be taken as independent, of deviation
  v sqrt(1 - rho), and two rows as correlated by rho:

    kernel_tt = v (rho + (1 - rho) E|A_t|^2)
    kernel_tu = v (rho + (1 - rho) E[A_t A_u])
    kurtosis  = 3 / H (1 - rho)^2 Var|A_t|^2 / (rho + (1 - rho) E|A_t|^2)^2

  Args:
    num_tokens: s, that every query sees.
    num_heads: H.
    variance: v.
    correlation: rho, from -1 / (s - 1) to 0.95.

  Raises:
    ValueError: an argument is out of its range.
  """
  s, v, rho = num_tokens, variance, correlation
  _check_range("num_tokens", s, 1, math.inf)
  _check_range("num_heads", num_heads, 1, math.inf)
  _check_range("variance", v, 0, math.inf)
  _check_range("correlation", rho, -1 / max(s - 1, 1), 0.95)
  std = v * math.sqrt(1 - rho)
  square = s * softmax_moment([2], s, std)
  fourth = s * softmax_moment([4], s, std)
  if s > 1:
    fourth += s * (s - 1) * softmax_moment([2, 2], s, std)
  own = rho + (1 - rho) * square
  other = rho + (1 - rho) * s * _shared_moment(s, std, rho)
  kernel_TT = np.full((s, s), v * other)
  np.fill_diagonal(kernel_TT, v * own)
  spread = (1 - rho) ** 2 * (fourth - square**2)
  return Moments(kernel_TT, np.full(s, 3 / num_heads * spread / own**2))


def softmax_moment(powers: Sequence[int], num_keys: int, std: float) -> float:
  """E[A_1^k_1 ... A_J^k_J] where A is the softmax of normal scores.

  With m the sum of powers, 1 / Z^m = int t^(m-1) e^(-tZ) dt / (m-1)! makes the
  keys independent: one integral over t of products of Laplace transforms,
  E[e^(kp) e^(-t e^p)] = e^(k^2 std^2 / 2) L(t e^(k std^2)).

  Args:
    powers: k_1..k_J of the first J keys, each at least 1.
    num_keys: s, at least J.
    std: of the independent scores.
  """
  rest = num_keys - len(powers)
  log_t_K, step = _nodes(-60.0, 12.0 * std + 8.0, 0.05)
  product_K = np.exp(sum(powers) * log_t_K) * _laplace(log_t_K, std) ** rest
  for k in powers:
    shift = k * std**2
    product_K *= np.exp(k * shift / 2) * _laplace(log_t_K + shift, std)
  return float(product_K.sum() * step / math.factorial(sum(powers) - 1))


def score_moments(
  width: int, head_width: int | None = None
) -> tuple[float, float]:
  """Variance and excess kurtosis of a score p_tt at a finite width, exactly.

  For the inputs x_t = W_t h of the paper, of variance 1 (`inputs="gaussian"`):

    Var = (1 + 2/n)^2,  E p^4 = 3 (1 + 2/D) [(1 + 2/n)(1 + 4/n)(1 + 6/n)]^2

  Args:
    width: n.
    head_width: D; None is n.
  """
  n, D = width, head_width or width
  variance = (1 + 2 / n) ** 2
  fourth = 3 * (1 + 2 / D) * ((1 + 2 / n) * (1 + 4 / n) * (1 + 6 / n)) ** 2
  return variance, fourth / variance**2 - 3


def mixture_wasserstein(
  variances_N: Array, variances_M: Array, *, num_points: int = 256
) -> Array:
  """Wasserstein-1 distance of two centred scale mixtures of normals, from 0.

  Each is the mean of N(0, variances[i]). With `Draws.covariances` this is an
  estimate of the distance of the outputs, of a lower noise floor than that of
  sampled outputs: 2 int_0^inf |F - G|, as both are symmetric.

  Args:
    variances_N: of one mixture, at least 0.
    variances_M: of the other.
    num_points: of the trapezoid rule.
  """
  top = 7 * jnp.sqrt(jnp.maximum(variances_N.max(), variances_M.max()))
  points_K = jnp.linspace(0.0, top, num_points)

  def gap(point):
    beyond = lambda variances: jnp.mean(
      jax.scipy.special.erfc(point / jnp.sqrt(2 * variances)) / 2
    )
    return jnp.abs(beyond(variances_N) - beyond(variances_M))

  # Both have half of their mass above 0, where the division may be 0 / 0.
  gaps_K = jax.lax.map(gap, points_K).at[0].set(0.0)
  return 2 * jax.scipy.integrate.trapezoid(gaps_K, points_K)


def _shared_moment(num_keys: int, std: float, correlation: float) -> float:
  """E[A_t1 A_u1] of two queries whose scores are correlated key by key."""
  if num_keys == 1 or correlation == 0:
    return 1 / num_keys**2
  log_t_K, step = _nodes(-30.0, 12.0 * std + 8.0, 0.1)
  z_M, width = _nodes(-9.0, 9.0, 0.03)
  decay_KM = np.exp(-np.exp(log_t_K[:, None] + std * z_M))
  rest = 1 - correlation**2
  square_MM = z_M[:, None] ** 2 + z_M**2 - 2 * correlation * np.outer(z_M, z_M)
  weight_MM = np.exp(-square_MM / (2 * rest)) * width**2
  weight_MM /= 2 * np.pi * np.sqrt(rest)
  tilt_KM = decay_KM * np.exp(std * z_M)
  seen_KK = tilt_KM @ weight_MM @ tilt_KM.T
  others_KK = decay_KM @ weight_MM @ decay_KM.T
  t_KK = np.exp(log_t_K[:, None] + log_t_K)
  return float((t_KK * seen_KK * others_KK ** (num_keys - 1)).sum() * step**2)


def _laplace(log_t_K: np.ndarray, std: float) -> np.ndarray:
  """E[exp(-t e^p)], p normal of deviation `std`; the trapezoid rule is exact.

  To rounding, that is: the integrand is smooth and vanishes at both ends.
  """
  z_M, step = _nodes(-9.0, 9.0, 0.05)
  weight_M = np.exp(-(z_M**2) / 2) * step / np.sqrt(2 * np.pi)
  return np.exp(-np.exp(log_t_K[:, None] + std * z_M)) @ weight_M


def _nodes(low: float, high: float, step: float) -> tuple[np.ndarray, float]:
  count = math.ceil((high - low) / step) + 1
  return np.linspace(low, high, count), (high - low) / (count - 1)


def _check_range(name, value, low, high):
  if not low <= value <= high:
    raise ValueError(f"{name}={value} must be from {low:.3g} to {high:.3g}")
