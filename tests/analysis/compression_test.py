"""Tests for simplex/analysis/compression.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import compression


class CompressionTest(chex.TestCase):
  def test_a_uniform_guess_costs_log2_of_the_vocabulary(self):
    guess = lambda tokens_BT: jnp.zeros((*tokens_BT.shape, 256))
    windows = np.arange(7 * 5).reshape(7, 5).astype(np.uint8)
    bits = compression.bits(guess, windows, batch_size=3)
    np.testing.assert_allclose(bits, np.full((7, 4), 8.0), rtol=1e-6)

  def test_a_certain_and_right_guess_costs_nothing(self):
    guess = lambda tokens_BT: 1e3 * jax.nn.one_hot(tokens_BT + 1, 16)
    bits = compression.bits(guess, np.arange(12)[None])
    np.testing.assert_allclose(bits, np.zeros((1, 11)), atol=1e-6)

  def test_each_column_is_about_the_token_after_it(self):
    logits_TV = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    guess = lambda tokens_BT: jnp.broadcast_to(
      logits_TV, (len(tokens_BT), 3, 4)
    )
    bits = compression.bits(guess, np.array([[3, 1, 2, 0]]))
    logp_TV = jax.nn.log_softmax(logits_TV) / np.log(2)
    expected = -np.array([logp_TV[0, 1], logp_TV[1, 2], logp_TV[2, 0]])
    np.testing.assert_allclose(bits[0], expected, rtol=1e-5)

  def test_steps_to_reach_interpolates(self):
    steps, losses = np.array([0, 10, 20]), np.array([4.0, 2.0, 1.0])
    self.assertEqual(compression.steps_to_reach(steps, losses, 3.0), 5.0)
    self.assertEqual(compression.steps_to_reach(steps, losses, 1.0), 20.0)
    self.assertEqual(compression.steps_to_reach(steps, losses, 5.0), 0.0)
    self.assertEqual(compression.steps_to_reach(steps, losses, 0.5), np.inf)


if __name__ == "__main__":
  absltest.main()
