"""Tests for simplex/data/grid_batches.py."""

import functools

from absl.testing import absltest
import chex
import jax
import numpy as np

from simplex.data import grid_batches, grid_symmetries, grids


def data(side=5, count=3):
  rng = np.random.default_rng(0)
  pairs = [
    grids.Pair(*rng.integers(0, 10, (2, y, x))) for y, x in ((2, 4), (5, 3))
  ]
  pairs[0].input[0] = pairs[0].output[0] = pairs[0].input[1, 0] = 0
  free_K = np.isin(np.arange(10), (6, 7, 8, 9))
  return pairs, grid_batches.pad(pairs, side, count, free_K)


class GridBatchesTest(chex.TestCase):
  def test_the_least_side_that_fits_is_chosen(self):
    self.assertEqual(grid_batches.padded_side(10), 10)
    self.assertEqual(grid_batches.padded_side(11), 13)
    with self.assertRaisesRegex(ValueError, "side=31 is above the largest"):
      grid_batches.padded_side(31)

  def test_pairs_lie_in_the_corner_and_the_rest_is_zero(self):
    pairs, padded = data()
    self.assertEqual(padded.count, 2)
    np.testing.assert_array_equal(padded.size_N2, [[2, 4], [5, 3], [0, 0]])
    np.testing.assert_array_equal(padded.output_NYX[1, :, :3], pairs[1].output)
    self.assertEqual(padded.input_NYX[0, 2:].sum(), 0)
    self.assertEqual(padded.input_NYX[2].sum(), 0)

  def test_what_does_not_fit_is_refused(self):
    with self.assertRaisesRegex(ValueError, "train pair 2 is 5 x 3, above"):
      data(side=4)
    with self.assertRaisesRegex(ValueError, "2 pairs do not fit in count=1"):
      data(count=1)

  def test_an_example_is_the_mapped_pair_and_its_mask(self):
    pairs, padded = data()
    turns = grid_symmetries.GROUPS["dihedral"]

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def draw(noise_N, n):
      change = grid_batches.random_map(
        noise_N, padded, n, turns, recolour=True, shift=True
      )
      return change, grid_batches.example(padded, n, change)

    changes, examples = draw(
      np.random.default_rng(1).random((40, grid_batches.NOISE)), 0
    )
    self.assertLen(set(np.asarray(changes.turn).tolist()), 8)
    self.assertLen(set(np.asarray(changes.shift)[:, 0].tolist()), 2)
    for i in range(40):
      turn, recolour, shift = (np.asarray(x)[i] for x in changes)
      first_YX, second_YX, mask_YX = (np.asarray(x)[i] for x in examples)
      self.assertEqual(mask_YX.sum(), 8)
      self.assertEqual((first_YX * ~mask_YX).sum(), 0)
      undone_YX = grid_symmetries.dihedral(
        grid_symmetries.UNDO[turn], second_YX
      )
      back_YX = np.roll(undone_YX[:2, :4], -shift, (0, 1))
      np.testing.assert_array_equal(
        np.argsort(recolour)[back_YX], pairs[0].output
      )


if __name__ == "__main__":
  absltest.main()
