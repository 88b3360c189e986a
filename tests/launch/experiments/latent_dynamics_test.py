"""Tests for launch/experiments/latent_dynamics.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.experiments import latent_dynamics
from launch.studies import latent_maps, latent_uses
from simplex.models import autoencoder


class LatentDynamicsTest(chex.TestCase):
  def test_noise_is_added_to_what_is_seen_and_not_to_the_target(self):
    config = latent_dynamics.tiny()
    images = jnp.full((4, 8, 8, 1), 0.25)
    batch = {"images": images}
    losses = []
    for noise in (0.0, 0.5):
      problem = latent_dynamics.problem(config, 2, noise, None, images)
      params = jax.tree.map(jnp.zeros_like, problem.init(jax.random.key(0)))
      key = jax.random.key(1)
      losses.append(problem.loss(params, batch, key=key, step=0)[0])
    # A network of zeros makes 1 / 2 everywhere: what it saw does not matter.
    np.testing.assert_allclose(losses, 64 / 4**2)

  def test_batches_come_from_the_first_images_alone(self):
    images = jnp.arange(6.0)[:, None, None, None] * jnp.ones((6, 8, 8, 1))
    problem = latent_dynamics.problem(latent_dynamics.tiny(), 2, 0.0, 2, images)
    state = problem.source.init(jax.random.key(0))
    batch, _ = problem.source.next(state)
    self.assertEqual(set(np.unique(batch["images"])), {0.0, 1.0})

  def test_a_latent_map_encodes_what_was_decoded(self):
    cfg = autoencoder.Config((2, 2, 1), 3, "dense", (4,))
    net = autoencoder.Autoencoder(cfg)
    params = net.init(jax.random.key(0), jnp.zeros((1, 2, 2, 1)))
    flat_P = jax.flatten_util.ravel_pytree(params)[0]
    model = latent_maps.coder(cfg, flat_P)
    z_D = jnp.arange(3.0)
    made = net.apply(params, z_D[None], method="decode")
    expected = net.apply(params, made, method="encode")[0]
    np.testing.assert_allclose(model.latent(z_D), expected, rtol=1e-5)

  def test_corrupted_images_keep_their_shape_and_pixels(self):
    images = jax.random.uniform(jax.random.key(0), (3, 4, 4, 1))
    sets = latent_uses.corrupted(images, jax.random.key(1))
    for name, made in sets.items():
      chex.assert_equal_shape([made, images])
      if name in ("pixels permuted", "turned by 90 degrees"):
        np.testing.assert_array_equal(
          np.sort(made, None), np.sort(images, None)
        )

  def test_bad_settings_are_named(self):
    for text, kwargs in {
      "latents=.4, 2": {"latents": (4, 2)},
      "begin at 2": {"latents": (4, 8, 16)},
      "grown_latent=5": {"grown_latent": 5},
      "evals=3": {"evals": 3},
      "noise=0": {"noise": 0.0},
      "train_sizes=.20,": {"train_sizes": (20,)},
    }.items():
      with self.assertRaisesRegex(ValueError, text):
        latent_dynamics.Config(**kwargs)


if __name__ == "__main__":
  absltest.main()
