"""Tests for simplex/adapters/paths.py."""

from typing import NamedTuple

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp

from simplex.adapters import paths


class Pair(NamedTuple):
  left: jax.Array
  right: jax.Array


TREE = {"a": [jnp.ones(2), jnp.zeros(3)], "b": Pair(jnp.ones(1), jnp.ones(4))}


class PathsTest(chex.TestCase):
  def test_any_tree_has_paths(self):
    found = paths.flatten(TREE)
    self.assertSequenceEqual(list(found), ["a/0", "a/1", "b/left", "b/right"])
    chex.assert_trees_all_equal(list(found.values()), jax.tree.leaves(TREE))

  def test_what_was_picked_undoes_what_is_placed(self):
    kept = paths.pick(TREE, ["a/1", "b/left"])
    placed = paths.place(TREE, {path: x + 1 for path, x in kept.items()})
    self.assertEqual(placed["a"][1][0], 1)
    self.assertIs(placed["a"][0], TREE["a"][0])
    chex.assert_trees_all_equal(paths.place(placed, kept), TREE)

  def test_a_path_that_is_not_there_lists_the_nearest(self):
    for use in (
      lambda: paths.pick(TREE, ["b/lift"]),
      lambda: paths.place(TREE, {"b/lift": 0}),
    ):
      with self.assertRaisesRegex(ValueError, r"'b/lift': .* \['b/left'"):
        use()


if __name__ == "__main__":
  absltest.main()
