"""Tests for launch/studies/random_layers.py and the experiment's settings."""

from absl.testing import absltest
import jax
import numpy as np

from launch.experiments import infinite_width_attention
from launch.studies import random_layers
from simplex.analysis import attention_limit

CONFIG = random_layers.Config(16, 1, 16, 3, num_draws=800, exact_draws=4096)


class RandomLayersTest(absltest.TestCase):
  def test_normal_weights_give_the_kernel_of_the_law(self):
    x_TE = random_layers.tokens(jax.random.key(0), CONFIG)
    sigma_TS = np.asarray(attention_limit.gram(x_TE))
    law = random_layers.law(jax.random.key(1), CONFIG, sigma_TS)
    found = jax.jit(
      lambda key: random_layers.initialised(key, CONFIG, x_TE, normal=True)
    )(jax.random.key(2))
    np.testing.assert_allclose(found.kernel, law.moments.kernel, atol=0.08)
    self.assertEqual(law.first.shape, found.first.shape)


class ConfigTest(absltest.TestCase):
  def test_draws_are_whole_chunks(self):
    with self.assertRaisesRegex(ValueError, "chunk=100 must divide num_draws"):
      infinite_width_attention.Config(chunk=100)
    with self.assertRaisesRegex(ValueError, r"widths=\(0,\) are not at least"):
      infinite_width_attention.Config(widths=(0,))
    with self.assertRaisesRegex(ValueError, "divergence_draws=200000 are more"):
      infinite_width_attention.Config(divergence_draws=200_000)


if __name__ == "__main__":
  absltest.main()
