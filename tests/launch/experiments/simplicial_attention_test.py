"""Tests for launch/experiments/simplicial_attention.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax

from launch.experiments import simplicial_attention as experiment
from launch.findings import simplicial_attention as findings


def parameters(config, task, arm):
  init = experiment.problem(config, task, arm).init
  shapes = jax.eval_shape(init, jax.random.key(0))
  return sum(x.size for x in jax.tree.leaves(shapes))


class SimplicialAttentionTest(chex.TestCase):
  @parameterized.product(
    task=findings.TASKS, preset=(experiment.Config, experiment.paper)
  )
  def test_arms_have_equal_parameters_within_2_per_cent(self, task, preset):
    counts = [parameters(preset(), task, arm) for arm in findings.ARMS]
    self.assertLess(max(counts) / min(counts), 1.02)

  def test_only_one_arm_has_a_feed_forward_network(self):
    for arm in findings.ARMS:
      model = experiment.model(experiment.Config(), "match3", arm)
      self.assertEqual(model.features > 0, arm == "feed_forward")
      self.assertEqual(len(model.windows) > 0, arm == "local")

  @parameterized.parameters(
    (dict(tasks=("match4",)), "tasks=.*match4.*not among"),
    (dict(arms=("dot",)), "arms=.*dot.*not among"),
    (dict(num_heads=3), "num_heads=3 must be even"),
    (dict(evals=3), "evals=3 must divide match3.num_steps"),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(experiment.Config(), **fields)


if __name__ == "__main__":
  absltest.main()
