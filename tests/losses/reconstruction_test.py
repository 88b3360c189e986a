"""Tests for simplex/losses/reconstruction.py."""

from absl.testing import absltest
import chex
import jax.numpy as jnp
import numpy as np

from simplex.losses import reconstruction


class ReconstructionTest(chex.TestCase):
  def test_the_loss_sums_over_an_image_and_averages_over_the_batch(self):
    images = jnp.ones((2, 3, 3, 1)).at[1].set(3.0)
    loss, metrics = reconstruction.squared_error(
      images, jnp.zeros((2, 3, 3, 1))
    )
    np.testing.assert_allclose(loss, (9 + 81) / 2)
    np.testing.assert_allclose(metrics["mse"], 5)

  def test_images_of_another_shape_are_an_error(self):
    with self.assertRaises(AssertionError):
      reconstruction.squared_error(jnp.ones((1, 2, 2, 1)), jnp.ones((1, 2, 2)))


if __name__ == "__main__":
  absltest.main()
