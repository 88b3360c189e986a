"""Tests for simplex/sampling/transforms.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.sampling import transforms

PROBS = (0.1, 0.4, 0.2, 0.25, 0.05)


def left(transform, probs=PROBS):
  """Which tokens can still be drawn."""
  logits_BV, state = transform.apply(
    jnp.log(jnp.array([probs])), transforms.State(jnp.zeros((1, 1)))
  )
  chex.assert_trees_all_equal(state.memory, ())
  return np.flatnonzero(np.isfinite(logits_BV[0])).tolist()


class TransformsTest(chex.TestCase):
  def test_a_temperature_divides_the_logits(self):
    logits_BV = jnp.array([[1.0, -2.0, 3.0]])
    warm_BV, _ = transforms.temperature(0.5).apply(logits_BV, None)
    chex.assert_trees_all_close(warm_BV, 2 * logits_BV)

  def test_one_is_no_temperature_bit_for_bit(self):
    logits_BV = jax.random.normal(jax.random.key(0), (3, 7))
    same_BV, _ = transforms.temperature(1.0).apply(logits_BV, None)
    chex.assert_trees_all_equal(same_BV, logits_BV)

  def test_no_temperature_leaves_the_first_of_the_likeliest(self):
    self.assertEqual(left(transforms.temperature(0.0)), [1])
    even = left(transforms.temperature(0), (0.2, 0.3, 0.3, 0.2))
    self.assertEqual(even, [1])

  def test_temperatures_can_be_swept(self):
    logits_BV = jnp.array([[0.0, 1.0]])
    fn = lambda tau: transforms.temperature(tau).apply(logits_BV, None)[0][0]
    swept = jax.vmap(fn)(jnp.array([0.0, 2.0]))
    self.assertEqual(swept.tolist(), [[-np.inf, 1], [0, 0.5]])

  @parameterized.parameters(
    (transforms.top_k(1), [1]),
    (transforms.top_k(3), [1, 2, 3]),
    (transforms.top_k(99), [0, 1, 2, 3, 4]),
    (transforms.top_p(0.3), [1]),
    (transforms.top_p(0.5), [1, 3]),
    (transforms.top_p(0.9), [0, 1, 2, 3]),
    (transforms.min_p(0.49), [1, 2, 3]),
    (transforms.min_p(0.99), [1]),
    (transforms.min_p(0.01), [0, 1, 2, 3, 4]),
  )
  def test_the_unlikely_are_cut(self, transform, expected):
    self.assertEqual(left(transform), expected)

  def test_what_is_left_keeps_its_logit(self):
    logits_BV = jax.random.normal(jax.random.key(0), (3, 7))
    for cut in (transforms.top_k(2), transforms.top_p(0.6)):
      cut_BV, _ = cut.apply(logits_BV, None)
      kept = jnp.isfinite(cut_BV)
      chex.assert_trees_all_equal(cut_BV[kept], logits_BV[kept])
      self.assertTrue(bool((~kept).any()))

  def test_a_cut_counts_what_the_last_has_left(self):
    logits_BV = jnp.log(jnp.array([PROBS]))
    cut_BV, _ = transforms.top_k(2).apply(logits_BV, None)
    # 0.4 is more than half of what is left.
    cut_BV, _ = transforms.top_p(0.5).apply(cut_BV, None)
    self.assertEqual(
      jnp.isfinite(cut_BV)[0].tolist(), [i == 1 for i in range(5)]
    )

  @parameterized.parameters(
    (transforms.temperature, -1.0, "temperature=-1.0 is not at least 0"),
    (transforms.temperature, np.nan, "temperature=nan is not at least 0"),
    (transforms.top_k, 0, "top_k=0 is not at least 1"),
    (transforms.top_p, 0.0, r"top_p=0.0 is not in \(0, 1\]"),
    (transforms.min_p, 1.5, r"min_p=1.5 is not in \(0, 1\]"),
  )
  def test_wrong_values_are_named(self, make, value, message):
    with self.assertRaisesRegex(ValueError, message):
      make(value)


if __name__ == "__main__":
  absltest.main()
