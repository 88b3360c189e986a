"""Tests for simplex/sampling/fingerprint.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.sampling import decode, fingerprint, transforms
from tests.sampling import bigrams

KEY = jax.random.key(5)
SIZE = 40  # of a vocabulary


def written(key, weight):
  """Texts whose green tokens have larger logits, and which tokens count."""
  flat = lambda tokens_BT, caches: (jnp.zeros((*tokens_BT.shape, SIZE)), caches)
  out = decode.generate(
    flat,
    (),
    jnp.zeros((20, 1), jnp.int32),
    jax.random.key(0),
    num_tokens=20,
    transforms=[fingerprint.red_green(weight, key=key)],
  )
  mask_BT = np.ones(out.tokens_BT.shape, bool)
  mask_BT[:, 0] = False
  return out.tokens_BT, mask_BT


class FingerprintTest(chex.TestCase):
  def test_it_adds_the_gradient_of_the_chance_of_green(self):
    tokens_B1 = jnp.array([[0], [3]])
    transform = fingerprint.fingerprint(
      bigrams.extend, bigrams.PARAMS, bigrams.caches(), 3.0, key=KEY
    )
    state = transforms.State(tokens_B1, transform.memory)
    added_BV, state = transform.apply(jnp.zeros((2, bigrams.V)), state)
    green_BV = fingerprint.green(KEY, tokens_B1[:, 0], bigrams.V, 0.5)

    def chance(logits_BV):
      return jnp.sum(jax.nn.softmax(logits_BV) * green_BV)

    gradient_BV = jax.grad(chance)(bigrams.PARAMS["table"][tokens_B1[:, 0]])
    chex.assert_trees_all_close(added_BV, 3 * gradient_BV, atol=1e-6)
    self.assertEqual(state.memory, 1)

  def test_green_depends_on_the_token_before_and_the_key(self):
    tokens = jnp.array([1, 1, 2])
    green_BV = fingerprint.green(KEY, tokens, 2000, 0.25)
    np.testing.assert_allclose(green_BV.mean(axis=1), 0.25, atol=0.05)
    self.assertTrue(bool((green_BV[0] == green_BV[1]).all()))
    self.assertFalse(bool((green_BV[0] == green_BV[2]).all()))
    other_BV = fingerprint.green(jax.random.key(6), tokens, 2000, 0.25)
    self.assertFalse(bool((green_BV == other_BV).all()))

  def test_only_the_key_that_was_used_finds_its_texts(self):
    tokens_BT, mask_BT = written(KEY, 2.0)
    self.assertLess(fingerprint.p_value(tokens_BT, mask_BT, KEY, SIZE), 1e-10)
    others = [
      fingerprint.p_value(tokens_BT, mask_BT, jax.random.key(i), SIZE)
      for i in range(20, 40)
    ]
    self.assertGreater(min(others), 1e-3)

  def test_p_values_of_texts_without_a_key_are_uniform(self):
    tokens_BT, mask_BT = written(KEY, 0.0)
    keys = jax.random.split(jax.random.key(7), 60)
    values = [
      fingerprint.p_value(tokens_BT, mask_BT, key, SIZE) for key in keys
    ]
    self.assertBetween(np.mean(values), 0.35, 0.65)
    self.assertBetween(np.mean(np.array(values) < 0.5), 0.3, 0.7)

  def test_bigrams_count_once(self):
    tokens_BT = jnp.tile(jnp.array([[0, 1]]), (500, 1))
    mask_BT = jnp.ones((500, 2))
    values = {
      round(fingerprint.p_value(tokens_BT, mask_BT, jax.random.key(i), 5), 6)
      for i in range(12)
    }
    self.assertEqual(values, {0.5, 1.0})

  def test_a_share_counts_masked_tokens_by_their_neighbour(self):
    tokens_BT, mask_BT = written(KEY, 50.0)
    share = fingerprint.green_share(tokens_BT, mask_BT, KEY, SIZE)
    self.assertEqual(share, 1)

  def test_a_rank_counts_the_key_itself(self):
    self.assertEqual(fingerprint.rank_p_value(3.0, np.array([1, 2, 2.5])), 0.25)
    self.assertEqual(fingerprint.rank_p_value(2.0, np.array([1, 2, 2.5])), 0.75)

  @parameterized.parameters(0, 1, -0.5)
  def test_a_share_of_all_or_none_is_refused(self, share):
    with self.assertRaisesRegex(ValueError, f"share={share} is not in"):
      fingerprint.red_green(1.0, key=KEY, share=share)

  def test_another_vocabulary_is_refused(self):
    transform = fingerprint.fingerprint(
      bigrams.extend, bigrams.PARAMS, bigrams.caches(), 1.0, key=KEY
    )
    state = transforms.State(jnp.zeros((1, 1), jnp.int32), transform.memory)
    with self.assertRaisesRegex(ValueError, "a vocabulary of 5 tokens"):
      transform.apply(jnp.zeros((1, 9)), state)


if __name__ == "__main__":
  absltest.main()
