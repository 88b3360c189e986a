"""Tests for simplex/analysis/markov.py."""

import collections
import math

from absl.testing import absltest
import chex
import jax
import numpy as np

from simplex.analysis import markov


def slow_bits(window, order, alpha, alphabet_size):
  """One window and order with dictionaries, from the definition."""
  seen = collections.defaultdict(collections.Counter)
  costs = []
  for t, token in enumerate(window):
    # A context that is not yet whole is like one that was not seen.
    context = tuple(window[t - order : t]) if t >= order else None
    counter = seen[context] if t >= order else collections.Counter()
    probability = (counter[token] + alpha) / (
      sum(counter.values()) + alpha * alphabet_size
    )
    costs.append(-math.log2(probability))
    counter[token] += 1
  return costs


def uniform(num_tokens, shape, seed=0):
  return np.random.default_rng(seed).integers(num_tokens, size=shape)


class BitsTest(chex.TestCase):
  def test_equals_dictionaries_for_every_order(self):
    windows_BT = uniform(3, (4, 40))
    alphas_K = [1.0, 0.5, 0.1, 0.01, 1e-3, 1e-4]
    expected_KBT = [
      [slow_bits(list(window), k, alpha, 5) for window in windows_BT]
      for k, alpha in enumerate(alphas_K)
    ]
    bits_KBT = markov.bits(windows_BT, alphas_K, 5)
    chex.assert_shape(bits_KBT, (6, 4, 40))
    np.testing.assert_allclose(bits_KBT, expected_KBT, atol=1e-5)

  def test_only_the_past_of_the_same_window_counts(self):
    windows_BT = uniform(3, (2, 20))
    changed_BT = windows_BT.copy()
    changed_BT[0, 12:] = 2 - changed_BT[0, 12:]
    bits_KBT = markov.bits(windows_BT, np.ones(3), 3)
    changed_KBT = markov.bits(changed_BT, np.ones(3), 3)
    np.testing.assert_array_equal(bits_KBT[:, 1], changed_KBT[:, 1])
    np.testing.assert_array_equal(bits_KBT[:, 0, :12], changed_KBT[:, 0, :12])
    self.assertFalse(np.array_equal(bits_KBT[:, 0], changed_KBT[:, 0]))

  def test_next_token_probabilities_sum_to_1(self):
    start = uniform(4, 30)
    windows_BT = np.stack([np.append(start, token) for token in range(4)])
    last_KB = markov.bits(windows_BT, np.full(6, 0.1), 4)[:, :, -1]
    np.testing.assert_allclose((2.0**-last_KB).sum(1), 1, atol=1e-5)

  def test_constant_window_becomes_certain_in_every_order(self):
    bits_KBT = markov.bits(np.full((1, 30), 7), np.full(6, 1e-6), 256)
    np.testing.assert_allclose(bits_KBT[:, 0, 0], 8, atol=1e-5)
    for order in range(6):
      np.testing.assert_allclose(bits_KBT[order, 0, : order + 1], 8, atol=1e-5)
      np.testing.assert_allclose(bits_KBT[order, 0, order + 1 :], 0, atol=1e-3)

  def test_uniform_tokens_cost_the_logarithm_of_the_alphabet(self):
    windows_BT = uniform(4, (50, 200))
    alphas_K = markov.fit(uniform(4, (50, 200), seed=1), 4)
    bits_K = markov.bits(windows_BT, alphas_K, 4).mean((1, 2))
    np.testing.assert_allclose(bits_K, 2, atol=0.03)

  def test_cycle_is_certain_above_order_0_after_its_first_period(self):
    window = np.tile([5, 1, 8, 2], 10)
    bits_KT = markov.bits(window[None], np.full(6, 1e-6), 256)[:, 0]
    for order in range(1, 6):
      np.testing.assert_allclose(bits_KT[order, 4 + order :], 0, atol=1e-3)
    np.testing.assert_allclose(bits_KT[0, 8::4], 2, atol=1e-3)

  def test_alphabet_below_1_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "alphabet_size=0"):
      markov.bits(uniform(2, (1, 4)), np.ones(1), 0)


class FitTest(chex.TestCase):
  def test_no_other_smoothing_of_the_grid_costs_less(self):
    windows_BT = uniform(3, (6, 40))
    alphas_K = markov.fit(windows_BT, 256, last=10)
    cost = lambda a_K: markov.bits(windows_BT, a_K, 256)[:, :, -10:].mean(
      (1, 2)
    )
    for alpha in markov.GRID:
      self.assertTrue((cost(alphas_K) <= cost(np.full(6, alpha)) + 1e-6).all())

  def test_noise_wants_more_smoothing_than_a_cycle(self):
    cycle_BT = np.tile([0, 1, 2], (3, 12))
    of_cycle = markov.fit(cycle_BT, 3)[1]
    of_noise = markov.fit(uniform(3, (10, 36)), 3)[1]
    self.assertLess(of_cycle, of_noise)

  def test_bits_and_counts_can_be_traced(self):
    windows_BT = uniform(3, (2, 12)).astype(np.uint8)
    traced = jax.jit(markov.bits, static_argnums=2)
    alphas_K = np.full(4, 0.5)
    np.testing.assert_allclose(
      traced(windows_BT, alphas_K, 3),
      markov.bits(windows_BT, alphas_K, 3),
      atol=1e-6,
    )

  def test_tuned_bits_use_the_smoothing_that_suits_the_tuning_windows(self):
    windows_BT = uniform(2, (3, 16))
    tuned_KBT = markov.tuned_bits(windows_BT, windows_BT, 2, last=16)
    for alpha in (0.01, 1.0):
      bits_KBT = markov.bits(windows_BT, np.full(markov.NUM_ORDERS, alpha), 2)
      worse_K = (bits_KBT - tuned_KBT).mean(axis=(1, 2))
      self.assertGreaterEqual(worse_K.min(), -1e-6)

  def test_distinct_is_the_number_of_different_tokens(self):
    self.assertEqual(markov.distinct(np.array([[3, 3, 9], [0, 9, 9]])), 3)

  def test_arguments_out_of_range_are_errors(self):
    windows_BT = uniform(2, (1, 4))
    for last in (0, 5):
      with self.assertRaisesRegex(ValueError, f"last={last} .* length 4"):
        markov.fit(windows_BT, 2, last=last)
    for grid in ((), (0.1, 0.0)):
      with self.assertRaisesRegex(ValueError, "numbers above 0"):
        markov.fit(windows_BT, 2, grid=grid)
    with self.assertRaisesRegex(ValueError, "num_orders=0"):
      markov.fit(windows_BT, 2, num_orders=0)
    with self.assertRaisesRegex(ValueError, "alphabet_size=0"):
      markov.fit(windows_BT, 0)


if __name__ == "__main__":
  absltest.main()
