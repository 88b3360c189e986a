"""Tests for simplex/models/autoencoder.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import autoencoder


class AutoencoderTest(chex.TestCase):
  @parameterized.parameters(
    ("dense", (8, 8, 1), (16, 12)),
    ("conv", (7, 5, 3), (2, 4, 8, 16)),
  )
  def test_images_come_back_in_their_shape_through_the_code(
    self, kind, shape, widths
  ):
    cfg = autoencoder.Config(shape, 3, kind, widths)
    net = autoencoder.Autoencoder(cfg)
    images = jax.random.uniform(jax.random.key(0), (2, *shape))
    params = jax.jit(net.init)(jax.random.key(1), images)
    codes = net.apply(params, images, method="encode")
    chex.assert_shape(codes, (2, 3))
    made = net.apply(params, codes, method="decode")
    chex.assert_equal_shape([made, images])
    np.testing.assert_allclose(net.apply(params, images), made, atol=1e-6)

  def test_the_code_is_linear_in_the_last_hidden_layer(self):
    cfg = autoencoder.Config((2, 2, 1), 3)
    net = autoencoder.Autoencoder(cfg)
    params = net.init(jax.random.key(0), jnp.zeros((1, 2, 2, 1)))
    kernel = params["params"]["halves"]["code"]["kernel"]
    chex.assert_shape(kernel, (128, 3))

  def test_bad_settings_are_named(self):
    for text, kwargs in {
      "kind='vae'": {"kind": "vae"},
      r"shape=\(8, 8\)": {"shape": (8, 8)},
      "latent=0": {"latent": 0},
      r"widths=\(\)": {"widths": ()},
    }.items():
      with self.assertRaisesRegex(ValueError, text):
        autoencoder.Config(**kwargs)


if __name__ == "__main__":
  absltest.main()
