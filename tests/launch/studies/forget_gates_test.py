"""Tests for launch/studies/forget_gates.py."""

import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import forget_gates
from simplex.models import transformer

CONFIG = transformer.Config(
  width=16, num_layers=2, num_heads=2, mixer="forgetting", init_std=0.02
)
TEXT = np.random.default_rng(0).integers(0, 256, (2, 32), np.uint8)


@functools.cache
def params(bias):
  """Of a model with gates of `sigmoid(bias)`, and nearly equal logits."""
  init = transformer.Transformer(CONFIG).init
  drawn = jax.jit(init)(jax.random.key(0), jnp.zeros((1, 4), jnp.int32))
  return jax.tree.map_with_path(
    lambda path, x: x + bias if path[-1].key == "bias" else x, drawn
  )


@jax.jit
def look(params):
  return forget_gates.look(CONFIG, 4, jnp.asarray(TEXT), params)


class ForgetGatesTest(chex.TestCase):
  def test_open_gates_spare_nothing(self):
    means_LH, spared, lost, online = look(params(20.0))
    np.testing.assert_allclose(means_LH, 1, atol=1e-4)
    np.testing.assert_array_equal(spared, 0)
    np.testing.assert_array_equal(lost, 0)
    self.assertEqual(online, 0)

  def test_closed_gates_spare_most_and_lose_what_is_allowed(self):
    means_LH, spared, lost, _ = look(params(-4.0))
    np.testing.assert_allclose(means_LH, jax.nn.sigmoid(-4.0), atol=1e-3)
    self.assertGreater(spared[0], 0.3)
    self.assertTrue((np.diff(spared) >= 0).all())
    self.assertGreater(lost[-1], 0)
    self.assertTrue((lost <= np.exp(forget_gates.LOG_EPSILON)).all())

  def test_pictures_are_of_causal_weights(self):
    heads = forget_gates.pictures(CONFIG, TEXT[0, :8], params(-4.0))
    self.assertLen(heads, 2)
    for faded, weights in heads.values():
      np.testing.assert_allclose(np.diag(faded), 1)
      np.testing.assert_allclose(np.diag(faded, -1), 0.018, atol=4e-3)
      np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-5)
      np.testing.assert_array_equal(np.triu(weights, 1), 0)


if __name__ == "__main__":
  absltest.main()
