"""Tests for launch/studies/sequence_models.py."""

import dataclasses

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import sequence_models
from launch.studies.sequence_models import PARTS, Training
from simplex.data.sequences import copying, moving_sum
from trainers import optimizers, scan

SIZES = dict(width=8, batch_size=4, test_examples=4)
TRAINING = Training(moving_sum.Config(4, 2, 5), num_steps=2)


class SequenceModelsTest(chex.TestCase):
  def test_frozen_parts_are_the_optimum_and_stay_so(self):
    plain = sequence_models.problem(TRAINING, **SIZES)
    optimum = jax.tree.map(lambda x: x + 1, plain.init(jax.random.key(1)))
    training = dataclasses.replace(TRAINING, frozen="KQ")
    problem = sequence_models.problem(training, **SIZES, optimum=optimum)
    tx = optimizers.make(training.optimizer, 2)
    key = jax.random.key(0)
    state, _, _ = jax.jit(lambda: scan.fit(problem, tx, key, 2))()
    fresh = plain.init(jax.random.split(key, 3)[0])

    def check(path, x, best, start):
      names = {part.key for part in path}
      if names & set(PARTS["KQ"]):
        np.testing.assert_array_equal(x, best)
      elif "bias" not in names:
        np.testing.assert_allclose(x, start, atol=1e-2)
        self.assertGreater(jnp.abs(x - best).min(), 0.5)

    jax.tree.map_with_path(check, state.params, optimum, fresh)

  def test_every_part_names_parameters_that_exist(self):
    problem = sequence_models.problem(TRAINING, **SIZES)
    shapes = jax.eval_shape(problem.init, jax.random.key(0))
    names = set()
    jax.tree.map_with_path(
      lambda path, _: names.update(part.key for part in path), shapes
    )
    for part in PARTS.values():
      self.assertLessEqual(set(part), names)

  def test_gain_is_at_the_keys_of_sums_alone(self):
    task = moving_sum.task(TRAINING.data)
    gain = np.asarray(sequence_models.gain_map(task, 10.0))
    at = [(5, 0), (5, 1), (6, 1), (6, 2), (7, 2), (7, 3)]
    np.testing.assert_array_equal(np.argwhere(gain == 10), at)
    self.assertEqual((gain == 1).sum(), 64 - 6)
    self.assertIsNone(sequence_models.gain_map(task, 1.0))

  def test_a_loss_of_answers_does_not_see_the_prompt(self):
    batch = {
      "tokens": jnp.zeros((1, 8), jnp.int32),
      "targets": jnp.zeros((1, 8), jnp.int32),
      "mask": (jnp.arange(8) >= 4)[None].astype(jnp.float32),
    }
    other = {**batch, "targets": batch["targets"].at[0, :4].set(1)}
    for answers_only in (False, True):
      training = dataclasses.replace(TRAINING, answers_only=answers_only)
      problem = sequence_models.problem(training, **SIZES)
      params = problem.init(jax.random.key(0))
      losses = [float(problem.loss(params, x)[0]) for x in (batch, other)]
      self.assertEqual(losses[0] == losses[1], answers_only)

  def test_generation_continues_its_own_answer(self):
    task = copying.task(copying.Config("copy", 3, 3))
    # A model that says one more than the token before.
    logits_fn = lambda tokens: jax.nn.one_hot((tokens + 1) % 5, 5)
    sequence = jnp.array([[1, 2, 3, 4, 9, 9, 9]])
    answer = sequence_models.generate(logits_fn, sequence, task)
    np.testing.assert_array_equal(answer, [[0, 1, 2]])

  def test_unknown_parts_are_errors(self):
    message = "frozen='QK' is not one of .*'KQ'"
    with self.assertRaisesRegex(ValueError, message):
      Training(frozen="QK")


if __name__ == "__main__":
  absltest.main()
