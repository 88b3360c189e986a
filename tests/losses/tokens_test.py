"""Tests for simplex/losses/tokens.py."""

from absl.testing import absltest
import chex
import jax.numpy as jnp
import numpy as np

from simplex.losses import tokens


class TokensTest(chex.TestCase):
  def test_equal_scores_cost_the_log_of_the_vocabulary(self):
    loss, _ = tokens.next_token(jnp.zeros((2, 3, 10)), jnp.ones((2, 3), int))
    np.testing.assert_allclose(loss, np.log(10), rtol=1e-6)

  def test_masked_positions_do_not_count(self):
    logits_BTV = jnp.array([[[9.0, 0.0], [0.0, 9.0]]])
    targets_BT = jnp.array([[0, 0]])
    whole, metrics = tokens.next_token(logits_BTV, targets_BT)
    half, masked = tokens.next_token(
      logits_BTV, targets_BT, jnp.array([[1.0, 0.0]])
    )
    self.assertEqual(metrics["accuracy"], 0.5)
    self.assertEqual(masked["accuracy"], 1.0)
    self.assertGreater(whole, 4.0)
    self.assertLess(half, 0.001)

  def test_a_mask_of_zeros_gives_zero_and_not_nan(self):
    loss, _ = tokens.next_token(
      jnp.zeros((1, 2, 3)), jnp.zeros((1, 2), int), jnp.zeros((1, 2))
    )
    self.assertEqual(loss, 0.0)

  def test_half_precision_scores_are_summed_in_single(self):
    nll = tokens.nll(
      jnp.zeros((1, 1, 256), jnp.bfloat16), jnp.zeros((1, 1), int)
    )
    self.assertEqual(nll.dtype, jnp.float32)
    np.testing.assert_allclose(nll, [[np.log(256)]], rtol=1e-6)

  def test_shapes_that_do_not_fit_are_refused(self):
    with self.assertRaises(AssertionError):
      tokens.next_token(jnp.zeros((2, 3, 10)), jnp.zeros((2, 4), int))


if __name__ == "__main__":
  absltest.main()
