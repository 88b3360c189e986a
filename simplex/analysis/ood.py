"""Scores of how much an input is like the training data, and their quality.

Every detector is a pair of pure functions, and every score is higher for
inputs that are more like the training data. So AUROC is the chance that an
input from the distribution outscores one from elsewhere, and 0.5 is a guess.

  detector = ood.neco(dim=6)
  state = detector.fit(ood.Data(features_NE, logits_NK))
  score_N = detector.score(state, ood.Data(test_features_NE, test_logits_NK))
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.analysis import spectra
from simplex.types import Array


class Data(NamedTuple):
  """What a network makes of N inputs; a detector reads what it needs.

  Attributes:
    features_NE: of a layer, mostly the last before the logits.
    logits_NK: not divided by a temperature.
    labels_N: classes, for `mahalanobis` by class.
  """

  features_NE: Array | None = None
  logits_NK: Array | None = None
  labels_N: Array | None = None


class Detector(NamedTuple):
  """Learns what training data look like, and scores other data by it.

  Attributes:
    fit: `data -> state`; `state` is None where nothing is learnt.
    score: `(state, data) -> score_N`, higher for data like those of `fit`.
  """

  fit: Callable[[Data], Any]
  score: Callable[[Any, Data], Array]


def msp(temperature: float = 1.0) -> Detector:
  """The largest probability of softmax (Hendrycks & Gimpel 2017), in (0, 1]."""
  _check_positive("temperature", temperature)
  score = lambda state, data: jnp.max(
    jax.nn.softmax(data.logits_NK / temperature), axis=-1
  )
  return Detector(lambda data: None, score)


def energy(temperature: float = 1.0) -> Detector:
  """T log sum exp(z / T): minus the energy (Liu et al. 2020)."""
  _check_positive("temperature", temperature)
  score = lambda state, data: (
    temperature * jax.nn.logsumexp(data.logits_NK / temperature, axis=-1)
  )
  return Detector(lambda data: None, score)


def knn(k: int) -> Detector:
  """Minus the mean distance to the k nearest features of training.

  With k the number of training features it is the mean distance to all of
  them, which knows the spread of the data but not their shape. Sun et al. 2022
  take the k-th distance, of features of norm 1.

  Raises:
    ValueError: `k` is below 1, or `fit` has fewer than k features.
  """
  if k < 1:
    raise ValueError(f"k={k} must be at least 1")

  def fit(data):
    N = data.features_NE.shape[0]
    if k > N:
      raise ValueError(f"k={k} neighbours of {N} training features")
    return data.features_NE

  def score(bank_SE, data):
    def one(x_E):
      # Differences, not |x|^2 + |y|^2 - 2 x'y, which loses small distances.
      distance_S = jnp.linalg.norm(bank_SE - x_E, axis=-1)
      return jnp.mean(jax.lax.top_k(-distance_S, k)[0])

    return jax.lax.map(one, data.features_NE, batch_size=16)

  return Detector(fit, score)


def mahalanobis(num_classes: int = 1, ridge: float = 1e-6) -> Detector:
  """Minus the least squared Mahalanobis distance to a class (Lee et al. 2018).

  All classes share one covariance. With one class no labels are needed.

  Args:
    num_classes: K; a class without examples is never the nearest.
    ridge: added to the variances, as a share of their mean, so that features
      of low rank have an inverse.
  """
  _check_positive("num_classes", num_classes)
  _check_positive("ridge", ridge)

  def fit(data):
    x_NE = jnp.asarray(data.features_NE)
    spectra.check_finite("features", x_NE)
    N, E = x_NE.shape
    labels_N = data.labels_N
    if num_classes == 1:
      labels_N = jnp.zeros(N, jnp.int32)
    member_NK = jax.nn.one_hot(labels_N, num_classes, dtype=x_NE.dtype)
    count_K = member_NK.sum(0)
    mean_KE = member_NK.T @ x_NE / jnp.maximum(count_K, 1)[:, None]
    centred_NE = x_NE - mean_KE[labels_N]
    # Not by the covariance: in 32 bits, of low rank, it may be indefinite.
    _, s_R, axes_EE = jnp.linalg.svd(centred_NE, full_matrices=N < E)
    variance_E = jnp.pad(s_R**2, (0, E - s_R.size)) / N
    std_E = jnp.sqrt(variance_E + ridge * jnp.mean(variance_E))
    return mean_KE, count_K > 0, axes_EE.T / std_E

  def score(state, data):
    mean_KE, seen_K, whiten_EE = state

    def to_class(mean_and_seen):
      mean_E, seen = mean_and_seen
      white_NE = (data.features_NE - mean_E) @ whiten_EE
      return jnp.where(seen, jnp.sum(white_NE**2, axis=1), jnp.inf)

    return -jnp.min(jax.lax.map(to_class, (mean_KE, seen_K)), axis=0)

  return Detector(fit, score)


def neco(dim: int, *, max_logit: bool = False) -> Detector:
  """Share of a feature's norm in the main subspace (Ben Ammar et al. 2024).

  Features are standardised by those of training; |P x| / |x|, with P the first
  `dim` principal components of training. In [0, 1], unless it is multiplied by
  the largest logit, as the authors do for all networks but ResNets.

  Raises:
    ValueError: `dim` is not from 1 to the width of the features.
  """

  def fit(data):
    x_NE = data.features_NE
    spectra.check_finite("features", x_NE)
    _check_dim(dim, x_NE)
    std_E = jnp.std(x_NE, axis=0)
    # A feature that never varies would divide by 0; it counts as it is.
    std_E = jnp.where(std_E == 0, 1, std_E)
    mean_E = jnp.mean(x_NE, axis=0)
    return mean_E, std_E, _components((x_NE - mean_E) / std_E)[:, :dim]

  def score(state, data):
    mean_E, std_E, main_ED = state
    x_NE = (data.features_NE - mean_E) / std_E
    norm_N = jnp.linalg.norm(x_NE, axis=-1)
    inside_N = jnp.linalg.norm(x_NE @ main_ED, axis=-1)
    share_N = inside_N / jnp.where(norm_N == 0, 1, norm_N)
    return share_N * jnp.max(data.logits_NK, axis=-1) if max_logit else share_N

  return Detector(fit, score)


def vim(dim: int, origin_E: Array | float = 0.0) -> Detector:
  """Energy less a virtual logit, the norm of the residual (Wang et al. 2022).

  log sum exp(z) - alpha |R (x - o)|: R projects on all but the `dim` main
  directions of the training features around the origin o, and alpha makes the
  mean virtual logit of training equal to the mean largest logit.

  Args:
    dim: directions that are kept, from 1 to the width of the features.
    origin_E: o, where the head gives no logits: `vim_origin`, 0 without biases.

  Raises:
    ValueError: `dim` is out of its range.
  """

  def residual(main_ED, x_NE):
    x_NE = x_NE - origin_E
    return jnp.linalg.norm(x_NE - x_NE @ main_ED @ main_ED.T, axis=-1)

  def fit(data):
    spectra.check_finite("features", data.features_NE)
    _check_dim(dim, data.features_NE)
    main_ED = _components(data.features_NE - origin_E)[:, :dim]
    mean = jnp.mean(residual(main_ED, data.features_NE))
    largest = jnp.mean(jnp.max(data.logits_NK, axis=-1))
    return main_ED, largest / jnp.where(mean == 0, 1, mean)

  def score(state, data):
    main_ED, alpha = state
    virtual_N = alpha * residual(main_ED, data.features_NE)
    return jax.nn.logsumexp(data.logits_NK, axis=-1) - virtual_N

  return Detector(fit, score)


def vim_origin(kernel_EK: Array, bias_K: Array) -> Array:
  """The least o with W'o + b = 0, where that can be (Wang et al. 2022)."""
  return -jnp.linalg.pinv(kernel_EK.T) @ bias_K


def auroc(id_N: Array, ood_M: Array) -> Array:
  """P(an ID score > an OOD score) + P(they are equal) / 2, in [0, 1].

  The same for either choice of the positive class.

  Raises:
    ValueError: there are no scores, or one is NaN.
  """
  _check_scores(id_N, ood_M)
  order_M = jnp.sort(ood_M)
  below_N = jnp.searchsorted(order_M, id_N, side="left")
  equal_N = jnp.searchsorted(order_M, id_N, side="right") - below_N
  share = jnp.mean(below_N + equal_N / 2) / ood_M.shape[0]
  return _nan_if_nan(share, id_N, ood_M)


def fpr95_id_positive(id_N: Array, ood_M: Array) -> Array:
  """Share of OOD inputs accepted when 95 % of ID inputs are accepted.

  ID is the positive class, as in most papers. At least 95 % are accepted, ties
  included.

  Raises:
    ValueError: there are no scores, or one is NaN.
  """
  _check_scores(id_N, ood_M)
  share = jnp.mean(ood_M >= _quantile_from_top(id_N))
  return _nan_if_nan(share, id_N, ood_M)


def fpr95_ood_positive(id_N: Array, ood_M: Array) -> Array:
  """Share of ID inputs rejected when 95 % of OOD inputs are rejected.

  OOD is the positive class, as in OpenOOD since 1.5: another number than
  `fpr95_id_positive`.

  Raises:
    ValueError: there are no scores, or one is NaN.
  """
  return fpr95_id_positive(-ood_M, -id_N)


def _quantile_from_top(score_N: Array) -> Array:
  """The score that at least 95 % of the scores reach."""
  N = score_N.shape[0]
  return jnp.sort(score_N)[N - -(-95 * N // 100)]


def _nan_if_nan(share: Array, id_N: Array, ood_M: Array) -> Array:
  """Within a compiled function NaN cannot be an error: it stays NaN."""
  nan = jnp.isnan(id_N).any() | jnp.isnan(ood_M).any()
  return jnp.where(nan, jnp.nan, share)


def _components(x_NE: Array) -> Array:
  """Right singular vectors in columns, the main one first."""
  return jnp.linalg.svd(x_NE, full_matrices=x_NE.shape[0] < x_NE.shape[1])[2].T


def _check_dim(dim: int, x_NE: Array) -> None:
  E = x_NE.shape[1]
  if not 1 <= dim <= E:
    raise ValueError(f"dim={dim} must be from 1 to {E}, the features' width")


def _check_positive(name: str, value: float) -> None:
  if not value > 0:
    raise ValueError(f"{name}={value} must be above 0")


def _check_scores(id_N: Array, ood_M: Array) -> None:
  chex.assert_rank([id_N, ood_M], 1)
  for name, score_N in (("ID", id_N), ("OOD", ood_M)):
    if not score_N.shape[0]:
      raise ValueError(f"there are no {name} scores")
    if spectra.is_known(score_N) and bool(jnp.isnan(score_N).any()):
      raise ValueError(f"{name} scores hold NaN")
