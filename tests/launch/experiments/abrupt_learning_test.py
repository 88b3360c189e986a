"""Tests for launch/experiments/abrupt_learning.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex

from launch.experiments import abrupt_learning as experiment
from launch.findings import abrupt_learning_pictures as pictures
from launch.studies.sequence_models import Training
from simplex.data.sequences import copying


class AbruptLearningTest(chex.TestCase):
  @parameterized.product(preset=(experiment.Config, experiment.paper))
  def test_the_base_has_32_seeds_and_the_others_5(self, preset):
    self.assertEqual(preset().num_seeds, 32)
    self.assertEqual(preset().num_runs, 5)

  def test_the_preset_of_the_paper_has_its_sizes_in_one_vmap(self):
    config = experiment.paper()
    self.assertEqual(dataclasses.astuple(config.base.data), (16, 2, 17))
    self.assertEqual((config.width, config.batch_size), (256, 256))
    self.assertEqual(config.base.num_steps, 400)
    self.assertEqual(config.base.optimizer.learning_rate, 1e-4)
    self.assertEqual(config.at_once, config.num_seeds)

  @parameterized.parameters(*experiment.ARMS)
  def test_an_intervention_changes_one_thing(self, name):
    config = experiment.Config()
    arm = experiment.training(config, name)
    changed = [
      f.name
      for f in dataclasses.fields(arm)
      if getattr(arm, f.name) != getattr(config.base, f.name)
    ]
    self.assertLen(set(changed) - {"num_steps"}, 1)
    self.assertIn(name, pictures.TITLES)

  @parameterized.parameters(
    (dict(interventions=("KV",)), "interventions=.*KV.*not among"),
    (dict(tasks=("sort",)), "tasks=.*sort.*not among"),
    (dict(eval_every=7), "eval_every=7 must divide the 500 steps of base"),
    (dict(num_runs=33), "num_runs=33 must be from 1 to num_seeds=32"),
    (
      dict(base=Training(copying.Config())),
      "base.data=.*copy.*must be a moving sum",
    ),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(experiment.Config(), **fields)


if __name__ == "__main__":
  absltest.main()
