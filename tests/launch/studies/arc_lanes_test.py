"""Tests for launch/studies/arc_lanes.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import arc_lanes
from simplex.data import grids
from simplex.models import automaton

MODEL = automaton.Config(hidden_channels=2, perception_width=4, width=4)


def task(sizes=((3, 4), (2, 2)), asked=(4, 4)):
  rng = np.random.default_rng(0)
  pair = lambda size: grids.Pair(*rng.integers(0, 10, (2, *size)))
  return grids.Task("a", tuple(map(pair, sizes)), (pair(asked),))


def certain_of_zero():
  params = automaton.init_params(MODEL, jax.random.key(0))
  params = jax.tree.map(jnp.zeros_like, params)
  params["out"]["bias"] = params["out"]["bias"].at[0].set(100.0)
  return params


class RecipeTest(parameterized.TestCase):
  def test_large_grids_get_fewer_rollouts_and_at_least_one(self):
    recipe = arc_lanes.Recipe(trials=4, cells=300)
    found = [recipe.rollouts(side) for side in (6, 10, 16, 30)]
    self.assertEqual(found, [4, 3, 1, 1])

  def test_steps_grow_with_the_side(self):
    recipe = arc_lanes.Recipe(steps_per_side=0.8)
    self.assertEqual([recipe.steps(10, side) for side in (6, 30)], [10, 24])

  @parameterized.parameters(
    ({"arms": ("plain", "mirror")}, r"arms=\['mirror'\] are not among"),
    ({"arms": ()}, "arms is empty"),
    ({"num_seeds": 0}, "num_seeds=0 must be at least 1"),
    ({"updates": 150}, "chunk=100 must divide updates=150"),
  )
  def test_what_is_not_allowed_is_said(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      arc_lanes.Recipe(**fields)


class AnswerTest(chex.TestCase):
  def test_steps_scale_with_the_size_of_a_grid(self):
    small = task(sizes=((4, 4),))
    steps = lambda *size: (
      arc_lanes.question(np.zeros(size, int), small, 10, 30).steps
    )
    self.assertEqual([steps(4, 4), steps(8, 8), steps(1, 1)], [10, 20, 3])

  def test_padding_and_views_do_not_change_an_answer(self):
    params = automaton.init_params(MODEL, jax.random.key(1))
    grid_YX = task().test[0].input[:, :3]
    shown = lambda side, turns: np.asarray(
      arc_lanes.answer(
        MODEL,
        params,
        arc_lanes.question(grid_YX, task(), 3, side),
        np.array(turns),
      )
    )[:, :4, :3]
    alone_VYXK = shown(4, (0,))
    np.testing.assert_allclose(shown(7, (0,)), alone_VYXK, atol=1e-5)
    many_VYXK = shown(7, range(8))
    np.testing.assert_allclose(many_VYXK[:1], alone_VYXK, atol=1e-5)
    self.assertGreater(np.abs(many_VYXK[1:] - alone_VYXK).max(), 1e-3)
    np.testing.assert_allclose(many_VYXK.sum(-1), 1, rtol=1e-5)

  def test_a_film_begins_at_the_input_and_ends_at_the_answer(self):
    params = automaton.init_params(MODEL, jax.random.key(1))
    asked = arc_lanes.question(task().test[0].input, task(), 3, 5)
    film = arc_lanes.watch(MODEL, params, asked)
    self.assertLen(film, 4)
    first = film[0].argmax(-1)[:4, :4]
    np.testing.assert_array_equal(first, task().test[0].input)
    last = arc_lanes.answer(MODEL, params, asked, np.array([0]))
    np.testing.assert_allclose(film[-1], last[0], atol=1e-5)


class LossTest(chex.TestCase):
  def test_pairs_take_turns_or_are_mixed(self):
    # An automaton that is certain of 0 pays nothing for the first pair.
    params = certain_of_zero()
    first, second = task(sizes=((4, 4), (4, 4))).train
    zero = grids.Pair(first.input, first.output * 0)
    data = arc_lanes.lane(task()._replace(train=(zero, second)), "plain", 4, 3)
    model = dataclasses.replace(MODEL, max_drop=0.0)

    def losses(mixed):
      recipe = arc_lanes.Recipe(trials=4, mixed=mixed)
      loss = jax.jit(arc_lanes.trainer(model, recipe, 4, 1000).loss)
      return [
        float(loss(params, data, key=jax.random.key(s), step=jnp.array(s))[0])
        for s in range(4)
      ]

    turns = losses(mixed=False)
    np.testing.assert_allclose(turns[::2], 0, atol=1e-6)
    self.assertGreater(min(turns[1::2]), 5)
    shares = np.array(losses(mixed=True)) / turns[1]
    self.assertTrue(np.any((shares > 0.1) & (shares < 0.9)))

  def test_a_lane_fits_when_all_its_pairs_come_out(self):
    zero = grids.Pair(np.zeros((3, 3), int), np.zeros((3, 3), int))
    params = certain_of_zero()
    trainer = arc_lanes.trainer(MODEL, arc_lanes.Recipe(), 4, 1000)
    fitting = grids.Task("a", (zero, zero), (zero,))
    data = arc_lanes.lane(fitting, "plain", 4, 3)
    self.assertTrue(trainer.fits(params, data))
    other = fitting._replace(
      train=(zero, zero._replace(output=zero.output + 1))
    )
    self.assertFalse(trainer.fits(params, arc_lanes.lane(other, "plain", 4, 3)))


if __name__ == "__main__":
  absltest.main()
