"""Tests for launch/studies/arc_rows.py and arc_store.py."""

import pathlib

from absl.testing import absltest
import numpy as np

from launch.studies import arc_lanes, arc_rows, arc_store
from simplex.data import grids
from simplex.models import automaton
from trainers import optimizers

MODEL = automaton.Config(
  hidden_channels=1, perception_width=8, width=8, steps=2
)


def lane(arm, seed, fits):
  return arc_rows.Lane(arm, seed, 10, 0.1, fits, False, 0.5, None, -1.0, -2.0)


def looks(colour):
  """Of one test grid of one cell."""
  return [np.eye(10)[[[colour]]]]


def task(name, colour, count=2):
  """Every cell becomes one colour: a few updates teach it."""
  rng = np.random.default_rng(0)
  pair = lambda: grids.Pair(rng.integers(0, 2, (2, 3)), np.full((2, 3), colour))
  pairs = tuple(pair() for _ in range(count))
  return grids.Task(name, pairs, (pair(), pair()))


class VotesTest(absltest.TestCase):
  def test_those_that_fit_are_believed_and_vote(self):
    recipe = arc_lanes.Recipe(arms=("dihedral", "plain"), num_seeds=3)
    seen = [
      *(lane("dihedral", s, s == 0) for s in range(3)),
      *(lane("plain", s, s > 0) for s in range(3)),
    ]
    looked = [looks(c) for c in (1, 2, 2, 3, 4, 4)]
    order, votes = arc_rows.ranked(recipe, seen, looked)
    self.assertEqual(order, ["plain", "dihedral"])
    self.assertEqual(votes["dihedral"][0], [[1]])
    self.assertEqual(votes["plain"][0], [[4]])

  def test_where_none_fits_all_vote_in_the_order_of_the_recipe(self):
    recipe = arc_lanes.Recipe(arms=("dihedral", "plain"), num_seeds=3)
    seen = [lane(a, s, False) for a in recipe.arms for s in range(3)]
    looked = [looks(c) for c in (1, 2, 2, 3, 4, 4)]
    order, votes = arc_rows.ranked(recipe, seen, looked)
    self.assertEqual(order, ["dihedral", "plain"])
    self.assertEqual(votes["dihedral"][0], [[2]])


class RowsTest(absltest.TestCase):
  def test_like_tasks_come_together_small_ones_first(self):
    small = [task(f"s{i}", 1) for i in range(3)]
    wide = grids.Pair(np.zeros((1, 9), int), np.zeros((1, 9), int))
    large = grids.Task("l", (wide,) * 3, (wide,))
    recipe = arc_lanes.Recipe(updates=100, per_pair=True)
    found = arc_rows.groups([large, *small], recipe, 2)
    self.assertEqual(
      [(side, updates, len(group)) for side, updates, group in found],
      [(6, 200, 2), (6, 200, 1), (10, 300, 1)],
    )

  def test_a_task_that_is_learned_is_solved_and_kept(self):
    recipe = arc_lanes.Recipe(
      arms=("plain",),
      num_seeds=2,
      updates=60,
      chunk=30,
      optimizer=optimizers.Config(learning_rate=3e-2),
    )
    tasks = [task("a", 3), task("b", 5, count=3)]
    settings = {"seed": 0, "together": 2, "at_once": 1}
    (found,) = arc_rows.rows(MODEL, recipe, tasks, **settings)
    folder = arc_store.folder(self.create_tempdir().full_path)
    for row, picture in found:
      self.assertEqual(row.attempts, (True, True))
      self.assertEqual(row.arms, {"plain": True})
      self.assertLen(row.lanes, 2)
      for lane in row.lanes:
        self.assertTrue(lane.fits and lane.exact and lane.stays)
        self.assertEqual(lane.updates, 60)
        self.assertLessEqual(lane.least_error, lane.error)
      self.assertEqual(picture.frames.shape, (6, 2, 3, 3))
      self.assertFalse(arc_store.has(folder, row.name))
      arc_store.save(folder, row, picture)
      self.assertTrue(arc_store.has(folder, row.name))
      again = arc_store.row(folder, row.name)
      self.assertIsInstance(again.lanes[0].stays, bool)
      self.assertEqual(again.lanes, row.lanes)
      self.assertEqual(again.name, row.name)
      kept = arc_store.picture(folder, row.name)
      np.testing.assert_array_equal(kept.frames, picture.frames)
    # A task's automata do not depend on what is trained beside it.
    (((alone, _),),) = arc_rows.rows(MODEL, recipe, tasks[1:], **settings)
    beside = found[1][0]
    for one, other in zip(alone.lanes, beside.lanes, strict=True):
      self.assertAlmostEqual(one.loss, other.loss, places=4)
    self.assertLess(len(list(pathlib.Path(folder).iterdir())), 5)

  def test_what_is_not_finite_comes_back_as_nan(self):
    folder = arc_store.folder(self.create_tempdir().full_path)
    lost = lane("plain", 0, False)._replace(error=np.nan, least_error=np.inf)
    row = arc_rows.Row(
      "a", 3, 1.0, 2, 0.5, 1.0, [lost], [(0, 0)], {}, (False, False), "plain"
    )
    none = np.zeros((1, 1))
    arc_store.save(folder, row, arc_rows.Picture(none, none, none, none))
    (found,) = arc_store.row(folder, "a").lanes
    self.assertIsNone(found.stays)
    self.assertTrue(np.isnan([found.error, found.least_error]).all())


if __name__ == "__main__":
  absltest.main()
