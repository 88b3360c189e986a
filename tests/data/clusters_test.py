"""Tests for simplex/data/clusters.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import numpy as np

from simplex.data import clusters

SIZES = {"classes": 4, "width": 3, "per_class": 500, "spread": 0.1}


class GaussianTest(chex.TestCase):
  def test_points_lie_around_the_centre_of_their_class(self):
    x_NE, labels_N = clusters.gaussian(jax.random.key(0), **SIZES)
    self.assertEqual(x_NE.shape, (2000, 3))
    np.testing.assert_array_equal(np.bincount(labels_N), [500] * 4)
    for k in range(4):
      np.testing.assert_allclose(x_NE[labels_N == k].std(0), 0.1, rtol=0.15)

  def test_without_spread_a_class_is_one_point(self):
    sizes = {**SIZES, "spread": 0.0}
    x_NE, labels_N = clusters.gaussian(jax.random.key(0), **sizes)
    self.assertLen(np.unique(x_NE, axis=0), 4)
    self.assertEqual(np.ptp(x_NE[labels_N == 1], axis=0).max(), 0)

  @parameterized.parameters(
    ("classes", 1, 2), ("width", 0, 1), ("per_class", 0, 1), ("spread", -1, 0)
  )
  def test_sizes_out_of_range_are_errors(self, name, value, least):
    message = f"{name}={value} must be at least {least}"
    with self.assertRaisesRegex(ValueError, message):
      clusters.gaussian(jax.random.key(0), **{**SIZES, name: value})


if __name__ == "__main__":
  absltest.main()
