"""Tests for simplex/data/composition/question.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data.composition import question


class QuestionTest(chex.TestCase):
  def test_only_the_question_counts(self):
    example = question.example(jnp.array([3, 1, 2]), 5, 7)
    self.assertEqual(example["tokens"].tolist(), [3, 1, 2, 5])
    self.assertEqual(example["targets"].tolist(), [0, 0, 0, 7])
    self.assertEqual(example["mask"].tolist(), [0, 0, 0, 1])

  def test_each_order_is_as_likely(self):
    keys = jax.random.split(jax.random.key(0), 24_000)
    orders_N3 = jax.vmap(lambda key: question.permutation(key, 4))(keys)
    orders, counts = np.unique(orders_N3, axis=0, return_counts=True)
    self.assertLen(orders, 24)
    np.testing.assert_array_equal(
      np.sort(orders, axis=1), np.broadcast_to(np.arange(4), (24, 4))
    )
    np.testing.assert_allclose(counts, 1000, rtol=0.15)


if __name__ == "__main__":
  absltest.main()
