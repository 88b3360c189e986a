"""Tests for simplex/losses/labels.py."""

from absl.testing import absltest
import chex
import numpy as np

from simplex.losses import labels


class CrossEntropyTest(chex.TestCase):
  def test_equal_logits_cost_the_logarithm_of_the_number_of_classes(self):
    loss, _ = labels.cross_entropy(np.ones((3, 5)), np.array([0, 4, 2]))
    self.assertAlmostEqual(float(loss), np.log(5), places=6)

  def test_a_temperature_divides_the_logits_and_leaves_the_accuracy(self):
    logits_NK = np.random.default_rng(0).normal(size=(6, 4))
    labels_N = logits_NK.argmax(1)
    labels_N[:3] = (labels_N[:3] + 1) % 4
    warm = labels.cross_entropy(logits_NK, labels_N, temperature=8.0)
    same, _ = labels.cross_entropy(logits_NK / 8, labels_N)
    np.testing.assert_allclose(warm[0], same, rtol=1e-6)
    self.assertEqual(warm[1]["accuracy"], 0.5)


if __name__ == "__main__":
  absltest.main()
