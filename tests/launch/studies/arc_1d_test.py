"""Tests for launch/studies/arc_1d.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import arc_1d, arc_1d_tasks
from simplex.models import automaton

TINY = arc_1d.Config(
  memory=2,
  perception_width=8,
  width=16,
  steps=3,
  num_steps=30,
  batch_size=4,
  packed=2,
)


class Arc1dTest(chex.TestCase):
  def test_demonstrations_stand_above_the_cells(self):
    _, rows = arc_1d_tasks.stand_in(0, 1, length=10)
    state = arc_1d.begin(TINY.model, rows.inputs, rows.outputs)
    B, X = len(rows.family), 10
    chex.assert_shape(state, (B, 1, X, 10 + arc_1d.CONTEXT + 2))
    shown = state[:, 0, :, 10 : 10 + arc_1d.CONTEXT].reshape(B, X, 3, 2, 10)
    np.testing.assert_array_equal(
      shown.argmax(-1)[:, :, 1, 1], rows.outputs[:, 1]
    )
    # The answer to the question is not in the state.
    changed = rows.outputs.copy()
    changed[:, 3] = 0
    np.testing.assert_array_equal(
      state, arc_1d.begin(TINY.model, rows.inputs, changed)
    )

  def test_rows_lie_packed_behind_walls_and_come_mirrored(self):
    pairs = -np.ones((3, 2, 4, 5), int)
    pairs[0, ..., :2], pairs[1, ..., :3], pairs[2, ..., :5] = 1, [2, 3, 4], 5
    found = arc_1d._packed(jnp.array(pairs), jnp.array([0, 1, 0]), 9)
    chex.assert_shape(found, (2, 4, 9))
    # The third does not fit, and no part of it is there.
    expected = [1, 1, -1, 4, 3, 2, -1, -1, -1]
    np.testing.assert_array_equal(found[1, 3], expected)
    exactly = arc_1d._packed(jnp.array(pairs), jnp.array([0, 0, 0]), 12)
    expected = [1, 1, -1, 2, 3, 4, -1, 5, 5, 5, 5, 5]
    np.testing.assert_array_equal(exactly[0, 2], expected)

  def test_a_packed_task_is_answered_as_alone(self):
    _, rows = arc_1d_tasks.stand_in(0, 1, length=12)
    pairs = np.stack([rows.inputs, rows.outputs], 1)[:3]
    params = automaton.init_params(TINY.model, jax.random.key(0), height=1)
    noise = jax.random.normal(jax.random.key(1), (16, 10 + 60 + 2)) / 4
    params["out"]["kernel"] = noise  # a new rule changes nothing
    long = arc_1d._packed(jnp.array(pairs), jnp.zeros(3, bool), 39)
    ask = jax.jit(lambda x: arc_1d.answers(TINY, params, x[:, 0], x[:, 1])[0])
    alone, packed = ask(jnp.array(pairs)), ask(long[None])
    for i in range(3):
      np.testing.assert_allclose(
        packed[0, 13 * i : 13 * i + 12], alone[i], atol=1e-5
      )

  def test_batches_keep_what_a_task_is(self):
    task = np.array([[3, 3, 0, 0], [0, 4, 4, 0], [5, 5, 0, 0], [6, 0, 0, 0]])
    rows = arc_1d_tasks.Rows(np.zeros(1, int), task[None], 0 * task[None])
    source = arc_1d.problem(TINY, rows, 4).source
    draw = jax.jit(lambda key: source.next(source.init(key)))
    batch, _ = draw(jax.random.key(0))
    (B, *_), outputs = batch["inputs"].shape, batch["outputs"]
    np.testing.assert_array_equal(outputs, np.zeros((B, 4, 4)))
    sums = np.sort((batch["inputs"][:, :3] > 0).sum(-1))
    np.testing.assert_array_equal(sums, np.full((B, 3), 2))
    np.testing.assert_array_equal((batch["inputs"][:, 3] > 0).sum(-1), 1)
    colors = np.asarray(batch["inputs"]).max(-1)
    self.assertTrue(all(len(set(row)) == 4 for row in colors))
    self.assertGreater(len({tuple(row) for row in colors}), 1)

  def test_training_learns_from_its_rows_and_asks_the_others(self):
    _, rows = arc_1d_tasks.stand_in(0, 10)
    asked, losses = arc_1d.run(TINY, rows, [3, 4])
    chex.assert_shape(losses, (2, 30))
    self.assertLess(losses[:, -5:].mean(), losses[:, :5].mean() - 0.1)
    for seed, found in zip([3, 4], asked, strict=True):
      _, test = arc_1d_tasks.split(rows, seed)
      chex.assert_trees_all_equal(found.rows, test)
      chex.assert_shape(found.steps, (3, 6, 16))
      right = found.steps[-1] == test.outputs[:, -1]
      np.testing.assert_array_equal(found.exact, right.all(-1))

  def test_bad_sizes_are_named(self):
    with self.assertRaisesRegex(ValueError, "batch_size=6 is no multiple of"):
      arc_1d.Config(batch_size=6)
    with self.assertRaisesRegex(ValueError, "packed=0 must be at least 1"):
      arc_1d.Config(packed=0)


if __name__ == "__main__":
  absltest.main()
