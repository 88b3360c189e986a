"""What happens in a loss plateau (Gopalani & Hu 2025).

https://arxiv.org/abs/2506.13688. While the loss rests, the outputs repeat, the
hidden states of different positions collapse onto one direction, and attention
moves where it should be, unseen in the loss. Moving-window sums have levels of
loss in closed form.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from simplex.types import Array


def repetition(tokens_BT: Array) -> Array:
  """Fraction of tokens that equal the token before them, in [0, 1].

  Raises:
    ValueError: there are fewer than two tokens.
  """
  chex.assert_rank(tokens_BT, 2)
  _check_positions(tokens_BT.shape[1])
  return jnp.mean(tokens_BT[:, 1:] == tokens_BT[:, :-1])


def sequence_entropy(tokens_BT: Array, vocab_size: int) -> Array:
  """Mean entropy of the tokens of a sequence, in nats, in [0, ln T].

  sum_v p_v ln(1 / p_v), with p_v the share of token v in the sequence.
  """
  chex.assert_rank(tokens_BT, 2)
  share_BV = jax.nn.one_hot(tokens_BT, vocab_size).mean(1)
  return jnp.mean(jnp.sum(jax.scipy.special.entr(share_BV), axis=-1))


def mean_cosine(hidden_BTE: Array) -> Array:
  """Mean cosine between the hidden states of different positions, in [-1, 1].

  Over the pairs i < j of positions and over the batch. Near 1, the positions
  have collapsed onto one direction.

  Args:
    hidden_BTE: hidden states; one of zero has cosine 0.

  Raises:
    ValueError: there are fewer than two positions.
  """
  chex.assert_rank(hidden_BTE, 3)
  T = hidden_BTE.shape[1]
  _check_positions(T)
  norm_BT1 = jnp.linalg.norm(hidden_BTE, axis=-1, keepdims=True)
  unit_BTE = hidden_BTE / jnp.maximum(norm_BT1, 1e-12)
  cosine_BTS = jnp.einsum("BTE,BSE->BTS", unit_BTE, unit_BTE)
  pairs_TS = jnp.tril(jnp.ones((T, T)), -1)
  return jnp.sum(jnp.mean(cosine_BTS, 0) * pairs_TS) / (T * (T - 1) / 2)


def attention_progress(weights_BTS: Array, optimal_BTS: Array) -> Array:
  """The paper's progress measure: the share of attention on the right keys.

  Mean over the batch of sum_optimal |A| / sum |A|; 0 where A is 0.

  Args:
    weights_BTS: attention of the queries that predict the answer; linear
      attention may be negative.
    optimal_BTS: true at the right keys; its batch may be 1.

  Returns:
    A scalar in [0, 1].
  """
  chex.assert_rank([weights_BTS, optimal_BTS], 3)
  size_BTS = jnp.abs(weights_BTS)
  right_B = jnp.sum(size_BTS * optimal_BTS, axis=(1, 2))
  return jnp.mean(right_B / jnp.maximum(size_BTS.sum((1, 2)), 1e-30))


def sum_distribution(terms: int, modulus: int) -> np.ndarray:
  """Law of the sum of `terms` uniform non-zero residues modulo p, `[p]`.

  Each term has the Fourier coefficients 1, -1/(p-1), ..., -1/(p-1), so
  P(0) = (1 + (p-1) c) / p and P(r) = (1 - c) / p, with c = (-1/(p-1))^terms.
  """
  c = (-1 / (modulus - 1)) ** terms
  law = np.full(modulus, (1 - c) / modulus)
  law[0] = (1 + (modulus - 1) * c) / modulus
  return law


def sum_entropy(terms: int, modulus: int) -> float:
  """Entropy of that sum, in nats: 2.8331 for two terms modulo 17."""
  law = sum_distribution(terms, modulus)
  law = law[law > 0]
  return float(-np.sum(law * np.log(law)))


class Levels(NamedTuple):
  """Losses of moving-window sums in closed form, in nats."""

  answers: float  # mean over the answers, in the plateau
  total: float  # mean over all predicted tokens, in the plateau
  floor: float  # the same once the task is solved


def moving_sum_levels(length: int, window: int, modulus: int) -> Levels:
  """Where the loss rests while only the copied answers are known.

  Of 2n predicted tokens, n - 1 are numbers, which cost ln(p - 1) for ever; the
  separator and the k - 1 copies come to cost nothing; the n - k + 1 sums cost
  the entropy of a sum until they are solved. For the paper's n = 16, k = 2,
  p = 17: 2.656, 2.628 and 1.300.

  Raises:
    ValueError: the window is not from 1 to the length, or the modulus below 2.
  """
  _check_sums(length, window, modulus)
  sums = (length - window + 1) * sum_entropy(window, modulus)
  numbers = (length - 1) * np.log(modulus - 1)
  return Levels(
    answers=float(sums / length),
    total=float((numbers + sums) / (2 * length)),
    floor=float(numbers / (2 * length)),
  )


def moving_sum_repetition(length: int, window: int, modulus: int) -> float:
  """Share of true answers that equal the answer before them: .0583 there.

  Two sums are equal when the number that enters is the one that leaves; the
  first sum equals the last copy when the k - 1 other numbers sum to 0.

  Raises:
    ValueError: as `moving_sum_levels`, or there are fewer than two answers.
  """
  _check_sums(length, window, modulus)
  _check_positions(length)
  pairs = max(window - 2, 0) + length - window
  equal = pairs / (modulus - 1)
  if window > 1:
    equal += sum_distribution(window - 1, modulus)[0]
  return float(equal / (length - 1))


def crossing(steps_N: ArrayLike, values_N: ArrayLike, level: float) -> float:
  """When a curve first reaches `level` from below, between steps by a line.

  Returns:
    A step; the first one where the curve begins there, NaN where it never does.
  """
  steps_N, values_N = np.asarray(steps_N, float), np.asarray(values_N, float)
  chex.assert_equal_shape([steps_N, values_N])
  reached = np.flatnonzero(values_N >= level)
  if not len(reached):
    return float("nan")
  i = reached[0]
  if i == 0:
    return float(steps_N[0])
  rise = (level - values_N[i - 1]) / (values_N[i] - values_N[i - 1])
  return float(steps_N[i - 1] + rise * (steps_N[i] - steps_N[i - 1]))


def half_time(steps_N: ArrayLike, values_N: ArrayLike) -> float:
  """When a curve is first half-way from its first to its last value.

  The lead of hidden progress is the half time of the accuracy less that of
  `attention_progress`.
  """
  values_N = np.asarray(values_N, float)
  sign = np.sign(values_N[-1] - values_N[0]) or 1.0
  middle = (values_N[0] + values_N[-1]) / 2
  return crossing(steps_N, sign * values_N, sign * middle)


def _check_positions(count):
  if count < 2:
    raise ValueError(f"{count} positions cannot be compared; 2 or more can")


def _check_sums(length, window, modulus):
  if not 1 <= window <= length or modulus < 2:
    raise ValueError(
      f"{length=}, {window=}, {modulus=}: the window must be from 1 to the "
      "length, and the modulus at least 2"
    )
