"""Tests for simplex/data/grid_symmetries.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data import grid_symmetries, grids

SQUARE = np.arange(16).reshape(4, 4)


def pair(first, second):
  return grids.Pair(np.array(first), np.array(second))


class DihedralTest(chex.TestCase, parameterized.TestCase):
  def test_eight_maps_differ_and_are_undone(self):
    maps = [grid_symmetries.dihedral(k, SQUARE) for k in range(8)]
    self.assertLen({x.tobytes() for x in maps}, 8)
    for k, mapped in zip(grid_symmetries.UNDO, maps, strict=True):
      np.testing.assert_array_equal(grid_symmetries.dihedral(k, mapped), SQUARE)

  def test_traced_maps_are_the_same(self):
    turns = jnp.arange(8)
    found = jax.vmap(grid_symmetries.dihedral, (0, None))(turns, SQUARE)
    for k in range(8):
      expected = grid_symmetries.dihedral(k, SQUARE)
      np.testing.assert_array_equal(found[k], expected)

  def test_the_mirrors_are_those_of_their_names(self):
    for name, flip in (("columns", np.fliplr), ("rows", np.flipud)):
      _, k = grid_symmetries.GROUPS[name]
      found = grid_symmetries.dihedral(k, SQUARE)
      np.testing.assert_array_equal(found, flip(SQUARE))

  @parameterized.parameters(*grid_symmetries.GROUPS)
  def test_a_group_is_closed(self, name):
    turns = grid_symmetries.GROUPS[name]
    made = {
      grid_symmetries.dihedral(a, grid_symmetries.dihedral(b, SQUARE)).tobytes()
      for a in turns
      for b in turns
    }
    self.assertLen(made, len(turns))


class ColoursTest(chex.TestCase):
  def test_only_free_colours_are_exchanged(self):
    free_K = np.isin(np.arange(10), (2, 5, 7))
    noise = np.random.default_rng(0).random((60, 10))
    draw = jax.vmap(lambda x_K: grid_symmetries.permutation(x_K, free_K))
    found = np.asarray(draw(noise))
    fixed = np.flatnonzero(~free_K)
    np.testing.assert_array_equal(
      found[:, fixed], np.broadcast_to(fixed, (60, 7))
    )
    np.testing.assert_array_equal(
      np.sort(found), np.broadcast_to(np.arange(10), (60, 10))
    )
    self.assertLen({tuple(x) for x in found[:, [2, 5, 7]].tolist()}, 6)

  def test_colours_with_a_role_are_not_exchangeable(self):
    # 0 and 1 are in every input, 4 is made, 2, 3 and 5 only lend their shape.
    task = grids.Task(
      "a",
      (pair([[0, 1, 2]], [[0, 4, 2]]), pair([[0, 1, 3]], [[0, 4, 3]])),
      (pair([[0, 1, 5]], [[0, 4, 5]]),),
    )
    free_K = grid_symmetries.exchangeable(task)
    self.assertEqual(np.flatnonzero(free_K).tolist(), [2, 3, 5])

  def test_one_colour_alone_has_nothing_to_be_exchanged_with(self):
    task = grids.Task(
      "a", (pair([[0, 1]], [[0, 1]]), pair([[0]], [[0]])), (pair([[0]], [[0]]),)
    )
    self.assertFalse(grid_symmetries.exchangeable(task).any())


class ShiftTest(chex.TestCase):
  def test_room_is_counted_over_what_is_background_in_both(self):
    first, second = np.zeros((2, 5, 6), int)
    first[2, 2] = 3
    second[2, 2:4] = 3
    np.testing.assert_array_equal(
      grid_symmetries.room(pair(first, second)), [2, 2, 2, 2]
    )
    second[0, 0] = 1
    np.testing.assert_array_equal(
      grid_symmetries.room(pair(first, second)), [0, 2, 0, 2]
    )
    np.testing.assert_array_equal(
      grid_symmetries.room(pair(first * 0, first * 0)), [0] * 4
    )

  def test_room_needs_equal_sizes(self):
    with self.assertRaisesRegex(ValueError, r"sizes \(1, 2\) and \(1, 1\)"):
      grid_symmetries.room(pair([[0, 1]], [[0]]))

  def test_content_moves_inside_its_grid_and_padding_stays(self):
    padded_YX = np.zeros((4, 4), int)
    padded_YX[:2, :3] = [[1, 2, 0], [3, 4, 0]]
    padded_YX[3, 3] = 9
    found = grid_symmetries.shifted(
      padded_YX, np.array([0, 1]), np.array([2, 3])
    )
    expected = padded_YX.copy()
    expected[:2, :3] = [[0, 1, 2], [0, 3, 4]]
    np.testing.assert_array_equal(found, expected)


if __name__ == "__main__":
  absltest.main()
