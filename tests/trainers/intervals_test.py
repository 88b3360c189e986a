"""Intervals over seeds agree with the t table and with their own promise."""

from absl.testing import absltest
import chex
import numpy as np

from trainers import intervals


class IntervalTest(chex.TestCase):
  def test_three_seeds_agree_with_the_t_table(self):
    # t(0.975, 2) = 4.303 and s = 1.
    mean, low, high = intervals.interval([1.0, 2.0, 3.0])
    self.assertAlmostEqual(mean, 2.0)
    self.assertAlmostEqual(high - mean, 4.303 / 3**0.5, places=3)
    self.assertAlmostEqual(mean - low, high - mean)

  def test_equal_seeds_have_an_interval_of_no_width(self):
    self.assertEqual(intervals.interval([3.0, 3.0]), (3.0, 3.0, 3.0))

  def test_one_seed_has_a_mean_and_no_interval(self):
    mean, low, high = intervals.interval([2.0])
    self.assertEqual(mean, 2.0)
    self.assertTrue(np.isnan(low) and np.isnan(high))

  def test_curves_get_one_interval_per_point(self):
    values = np.arange(12.0).reshape(3, 4)
    found = intervals.interval(values)
    chex.assert_shape(found, (4,))
    expected = [intervals.interval(column) for column in values.T]
    np.testing.assert_allclose(np.transpose(found), expected)

  def test_ninety_five_of_a_hundred_intervals_hold_the_mean(self):
    values = np.random.default_rng(0).normal(1.0, 2.0, (4, 20_000))
    _, low, high = intervals.interval(values)
    self.assertAlmostEqual(np.mean((low <= 1) & (1 <= high)), 0.95, delta=0.006)

  def test_no_seeds_are_refused(self):
    with self.assertRaisesRegex(ValueError, r"values=\[\] has no seeds"):
      intervals.interval([])


if __name__ == "__main__":
  absltest.main()
