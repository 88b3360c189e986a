"""Temperature, logits and the rank of what a classifier learns.

Masarczyk et al. 2025, "Unpacking Softmax" (https://arxiv.org/abs/2506.01562):
trained with softmax(z / T), networks whose initial |z| / T is small reach full
accuracy with representations of low rank.

  import numpy as np
  from simplex.analysis import softmax_rank, spectra
  labels_N = np.random.default_rng(0).integers(0, 100, 1000)
  logits_NK = softmax_rank.rank_two_logits(labels_N, 100)  # fit any labels
  print(spectra.numerical_rank(spectra.spectrum(logits_NK)))
  print(softmax_rank.softmax_ranks(logits_NK, np.logspace(-3, 3, 7)))

prints 2, and ranks that rise from 1 to 100 with s in softmax(s z).
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.analysis import spectra
from simplex.types import Array


class Rescaling(NamedTuple):
  """Factors of a run at T = 1 that is a run at another temperature.

  Attributes:
    kernels: of all initial kernels, 1 / beta.
    sgd: of the learning rate of gradient descent, momentum or not, 1 / beta^2.
    adam: of the learning rate of Adam, 1 / beta.
    adam_epsilon: of the constant in Adam's denominator, beta.
  """

  kernels: float
  sgd: float
  adam: float
  adam_epsilon: float


def rescaling(temperature: float, num_kernels: int) -> Rescaling:
  """The run at T = 1 that equals one at `temperature`, step by step.

  For f(W) homogeneous of degree L, as a ReLU network of L kernels without
  biases and norms, f(W) / T = f(W / beta) with beta = T^(1 / L). Gradients
  by W / beta are beta times those by W, so SGD takes the same path, over beta,
  at the rate eta / beta^2; Adam, which divides by the gradient's size, at
  eta / beta, exactly if its epsilon is beta times as large.

  Raises:
    ValueError: the temperature is not above 0, or there is no kernel.
  """
  if not temperature > 0:
    raise ValueError(f"temperature={temperature} must be above 0")
  if num_kernels < 1:
    raise ValueError(f"num_kernels={num_kernels} must be at least 1")
  beta = temperature ** (1 / num_kernels)
  return Rescaling(1 / beta, 1 / beta**2, 1 / beta, beta)


def rank_two_logits(labels_N: Array, num_classes: int) -> Array:
  """Logits of rank 2 that give every input its label (Proposition 3.2).

  z_ik = cos(2 pi (y_i - k) / K): classes are directions in a plane. The right
  logit is 1 and the next cos(2 pi / K).

  Args:
    labels_N: integers in [0, K), any labels.
    num_classes: K, at least 2.

  Returns:
    logits_NK, in [-1, 1].

  Raises:
    ValueError: there is one class or none.
  """
  if num_classes < 2:
    raise ValueError(f"num_classes={num_classes} must be at least 2")
  away_NK = labels_N[:, None] - jnp.arange(num_classes)
  return jnp.cos(2 * jnp.pi * away_NK / num_classes)


def softmax_ranks(
  logits_NK: Array, scales_S: Array, *, threshold: float = 1e-3
) -> Array:
  """Numerical rank of softmax(s Z) for each s.

  It is 1 for small s, where softmax(s Z) is 1 / K plus s (I - 1 1' / K) Z / K.
  Logits of low rank make it rise above their own rank, and fall again once
  few rows differ from one-hot ones.

  Args:
    logits_NK: Z.
    scales_S: factors of it, which are 1 / T.
    threshold: of `spectra.numerical_rank`.

  Returns:
    ranks_S, from 1 to min(N, K).

  Raises:
    ValueError: the logits are empty or not finite.
  """
  spectra.check_finite("logits", logits_NK)

  def rank(scale):
    s_K = spectra.spectrum(jax.nn.softmax(scale * logits_NK))
    return spectra.numerical_rank(s_K, threshold)

  return jax.lax.map(rank, jnp.asarray(scales_S))


class NeuralCollapse(NamedTuple):
  """How far the last features are from neural collapse; 0 is collapsed.

  Attributes:
    nc1: trace(within @ pinv(between)) / K: variance within classes.
    nc2_norm: deviation of the norms of centred class means, over their mean.
    nc2_angle: mean of |cosine + 1 / (K - 1)| over pairs of these.
    nc3: squared distance of head and class means, each over its norm.
    nc4: share of inputs whose logits and nearest class mean disagree.
  """

  nc1: Array
  nc2_norm: Array
  nc2_angle: Array
  nc3: Array
  nc4: Array


def neural_collapse(
  features_NE: Array, labels_N: Array, kernel_EK: Array
) -> NeuralCollapse:
  """The four metrics of Papyan, Han & Donoho 2020, for a head without bias.

  Args:
    features_NE: what the head sees.
    labels_N: integers in [0, K); every class has an example.
    kernel_EK: the head.

  Returns:
    Scalars, at least 0.

  Raises:
    ValueError: there are no features, or some are not finite.
  """
  chex.assert_rank([features_NE, kernel_EK], 2)
  features_NE = jnp.asarray(features_NE)
  spectra.check_finite("features", features_NE)
  N, K = features_NE.shape[0], kernel_EK.shape[1]
  mean_KE = class_means(features_NE, labels_N, K)
  centred_KE = mean_KE - features_NE.mean(0)
  within_NE = features_NE - mean_KE[labels_N]
  norm_K = jnp.linalg.norm(centred_KE, axis=1)
  unit_KE = centred_KE / norm_K[:, None]
  off_KK = ~jnp.eye(K, dtype=bool)
  away_KK = jnp.abs(unit_KE @ unit_KE.T + 1 / (K - 1))
  duality_KE = _over_norm(kernel_EK.T) - _over_norm(centred_KE)
  nearest_N = nearest_class(features_NE, mean_KE)
  chosen_N = jnp.argmax(features_NE @ kernel_EK, axis=1)
  # trace(within @ pinv(between)) without the E x E matrices: |W pinv(M)|^2.
  solved_NK = within_NE @ jnp.linalg.pinv(centred_KE, rtol=1e-5)
  return NeuralCollapse(
    nc1=jnp.sum(solved_NK**2) / N,
    nc2_norm=jnp.std(norm_K) / jnp.mean(norm_K),
    nc2_angle=jnp.sum(away_KK, where=off_KK) / (K * (K - 1)),
    nc3=jnp.sum(duality_KE**2),
    nc4=jnp.mean(nearest_N != chosen_N),
  )


def class_means(features_NE: Array, labels_N: Array, num_classes: int) -> Array:
  """mean_KE; NaN for a class without an example."""
  member_NK = jax.nn.one_hot(labels_N, num_classes, dtype=features_NE.dtype)
  return member_NK.T @ features_NE / member_NK.sum(0)[:, None]


def nearest_class(features_NE: Array, mean_KE: Array) -> Array:
  """The class whose mean is nearest, `[N]`."""
  # |x - m|^2 without |x|^2, which all classes share.
  return jnp.argmax(features_NE @ mean_KE.T - jnp.sum(mean_KE**2, 1) / 2, 1)


def linear_probe(
  train_NE: Array,
  labels_N: Array,
  test_ME: Array,
  test_labels_M: Array,
  *,
  num_classes: int,
  ridge: float = 1e-3,
) -> Array:
  """Accuracy of classes read off features by ridge regression.

  One-hot labels are regressed on standardised features. Closed form: no
  training that could fall short, and the same under `vmap`.

  Args:
    train_NE: features to fit on.
    labels_N: their classes, integers in [0, K).
    test_ME: features to classify.
    test_labels_M: their classes.
    num_classes: K.
    ridge: penalty, as a share of N.

  Returns:
    A share of the M inputs.

  Raises:
    ValueError: there are no features, or some are not finite.
  """
  spectra.check_finite("features", train_NE)
  N = train_NE.shape[0]
  mean_E, std_E = train_NE.mean(0), train_NE.std(0)
  # Dead units divide by 1: they stay 0.
  standard = lambda x_NE: (x_NE - mean_E) / jnp.where(std_E == 0, 1, std_E)
  target_NK = jax.nn.one_hot(labels_N, num_classes, dtype=train_NE.dtype)
  u_NR, s_R, v_RE = jnp.linalg.svd(standard(train_NE), full_matrices=False)
  shrunk_R = s_R / (s_R**2 + ridge * N)
  centred_NK = target_NK - target_NK.mean(0)
  kernel_EK = v_RE.T @ (shrunk_R[:, None] * (u_NR.T @ centred_NK))
  scores_MK = standard(test_ME) @ kernel_EK + target_NK.mean(0)
  return jnp.mean(jnp.argmax(scores_MK, axis=1) == test_labels_M)


def _over_norm(x: Array) -> Array:
  return x / jnp.linalg.norm(x)
