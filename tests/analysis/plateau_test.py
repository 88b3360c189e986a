"""Tests for simplex/analysis/plateau.py."""

import itertools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import plateau


def all_sums(terms, p):
  """The law of the sum by counting."""
  numbers = itertools.product(range(1, p), repeat=terms)
  counts = np.bincount([sum(x) % p for x in numbers], minlength=p)
  return counts / counts.sum()


class LevelsTest(chex.TestCase):
  @parameterized.product(terms=(1, 2, 3), p=(2, 5, 6))
  def test_the_law_of_a_sum_is_that_of_counting(self, terms, p):
    law = plateau.sum_distribution(terms, p)
    np.testing.assert_allclose(law, all_sums(terms, p), atol=1e-12)

  def test_the_levels_of_the_paper(self):
    levels = plateau.moving_sum_levels(16, 2, 17)
    entropy = plateau.sum_entropy(2, 17)
    self.assertAlmostEqual(entropy, 2.8331, places=4)
    self.assertLess(entropy, np.log(17))
    self.assertAlmostEqual(levels.answers, 2.656, places=3)
    self.assertAlmostEqual(levels.total, 2.628, places=3)
    self.assertAlmostEqual(levels.floor, 1.300, places=3)

  def test_a_window_of_one_has_no_plateau_below_a_uniform_guess(self):
    levels = plateau.moving_sum_levels(8, 1, 5)
    self.assertAlmostEqual(levels.answers, np.log(4))
    self.assertAlmostEqual(levels.floor, 7 * np.log(4) / 16)

  def test_true_answers_repeat_as_published(self):
    share = plateau.moving_sum_repetition(16, 2, 17)
    self.assertAlmostEqual(share, 14 / 15 / 16)

  @parameterized.product(k=(1, 2, 3, 4))
  def test_true_answers_repeat_as_counted(self, k):
    n, p = 4, 4
    total = 0
    for x in itertools.product(range(1, p), repeat=n):
      y = [
        x[i] if i < k - 1 else sum(x[i - k + 1 : i + 1]) % p for i in range(n)
      ]
      total += sum(a == b for a, b in itertools.pairwise(y))
    expected = total / (n - 1) / (p - 1) ** n
    share = plateau.moving_sum_repetition(n, k, p)
    self.assertAlmostEqual(share, expected)


class MeasuresTest(chex.TestCase):
  def test_repetition_counts_equal_neighbours(self):
    tokens_BT = jnp.array([[1, 1, 1, 2], [3, 4, 5, 5]])
    self.assertAlmostEqual(float(plateau.repetition(tokens_BT)), 3 / 6, 6)

  def test_entropy_is_between_one_token_and_all_different(self):
    entropy = lambda row: float(plateau.sequence_entropy(jnp.array([row]), 5))
    self.assertEqual(entropy([3, 3, 3, 3]), 0.0)
    self.assertAlmostEqual(entropy([0, 1, 2, 4]), np.log(4), places=6)

  def test_cosine_is_1_when_collapsed_and_0_when_orthogonal(self):
    scale_T = jnp.arange(1.0, 5.0)
    collapsed_BTE = scale_T[None, :, None] * jnp.ones((2, 4, 8))
    self.assertAlmostEqual(float(plateau.mean_cosine(collapsed_BTE)), 1, 5)
    orthogonal_BTE = jnp.eye(4)[None]
    self.assertAlmostEqual(float(plateau.mean_cosine(orthogonal_BTE)), 0, 6)

  def test_cosine_is_the_mean_over_pairs(self):
    x_BTE = np.asarray(jax.random.normal(jax.random.key(0), (3, 5, 4)))
    pairs = [
      x[i] @ x[j] / np.linalg.norm(x[i]) / np.linalg.norm(x[j])
      for x in x_BTE
      for i, j in itertools.combinations(range(5), 2)
    ]
    found = float(plateau.mean_cosine(x_BTE))
    self.assertAlmostEqual(found, np.mean(pairs), places=5)

  def test_progress_is_1_on_the_right_keys_and_the_share_elsewhere(self):
    optimal_BTS = jnp.eye(3, 6)[None] > 0
    progress = plateau.attention_progress
    self.assertAlmostEqual(float(progress(-2.0 * optimal_BTS, optimal_BTS)), 1)
    uniform_BTS = jnp.ones((2, 3, 6))
    self.assertAlmostEqual(float(progress(uniform_BTS, optimal_BTS)), 1 / 6, 6)
    self.assertEqual(float(progress(0 * uniform_BTS, optimal_BTS)), 0)

  @parameterized.parameters(
    (lambda: plateau.repetition(jnp.ones((2, 1))), "1 positions cannot"),
    (lambda: plateau.mean_cosine(jnp.ones((2, 1, 3))), "1 positions cannot"),
    (lambda: plateau.moving_sum_repetition(1, 1, 5), "1 positions cannot"),
    (lambda: plateau.moving_sum_levels(4, 5, 7), "length=4, window=5"),
    (lambda: plateau.moving_sum_repetition(4, 2, 1), "modulus=1: the window"),
  )
  def test_what_cannot_be_measured_is_an_error(self, call, message):
    with self.assertRaisesRegex(ValueError, message):
      call()


class TimesTest(chex.TestCase):
  STEPS = np.arange(0, 60, 10)

  def test_a_crossing_is_between_steps(self):
    values = [0, 0, 0.2, 0.8, 1, 1]
    self.assertAlmostEqual(plateau.crossing(self.STEPS, values, 0.5), 25)
    self.assertEqual(plateau.crossing(self.STEPS, values, -1), 0)
    self.assertTrue(np.isnan(plateau.crossing(self.STEPS, values, 2)))

  def test_half_time_of_a_rise_is_that_of_the_same_fall(self):
    values = np.array([0.1, 0.1, 0.2, 0.8, 0.9, 0.9])
    rise = plateau.half_time(self.STEPS, values)
    self.assertAlmostEqual(rise, 25)
    self.assertAlmostEqual(plateau.half_time(self.STEPS, 1 - values), rise)


if __name__ == "__main__":
  absltest.main()
