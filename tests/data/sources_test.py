"""Tests for simplex/data/sources.py."""

from absl.testing import absltest
import chex
import jax
import numpy as np

from simplex.data import sources


def source(batch_size=4):
  return sources.from_sampler(
    lambda key: {"x": jax.random.normal(key, (3,))}, batch_size
  )


class FromSamplerTest(chex.TestCase):
  def test_examples_and_batches_differ(self):
    one, state = source().next(source().init(jax.random.key(0)))
    two, _ = source().next(state)
    rows = np.concatenate([one["x"], two["x"]])
    chex.assert_shape(one["x"], (4, 3))
    self.assertLen(np.unique(rows[:, 0]), 8)

  def test_the_state_decides_what_comes_next(self):
    _, state = source().next(source().init(jax.random.key(0)))
    chex.assert_trees_all_equal(source().next(state), source().next(state))

  def test_an_empty_batch_is_refused(self):
    with self.assertRaisesRegex(ValueError, "batch_size=0 must be at least 1"):
      source(0)


class FromBatchesTest(chex.TestCase):
  def test_batches_come_in_their_order_and_begin_again(self):
    source = sources.from_batches({"x": np.arange(6).reshape(3, 2)})
    state = source.init(jax.random.key(0))
    drawn = []
    for _ in range(4):
      batch, state = source.next(state)
      drawn.append(batch["x"].tolist())
    self.assertEqual(drawn, [[0, 1], [2, 3], [4, 5], [0, 1]])

  def test_unequal_numbers_of_batches_are_refused(self):
    with self.assertRaises(AssertionError):
      sources.from_batches({"x": np.zeros((2, 1)), "y": np.zeros((3, 1))})


if __name__ == "__main__":
  absltest.main()
