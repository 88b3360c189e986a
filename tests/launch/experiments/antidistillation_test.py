"""Tests for launch/experiments/antidistillation.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex

from launch.experiments import antidistillation as experiment
from launch.findings import antidistillation_runs as runs
from simplex.models import transformer


class AntidistillationTest(chex.TestCase):
  @parameterized.parameters(
    experiment.Config, experiment.tiny, experiment.paper
  )
  def test_every_arm_has_cells(self, preset):
    cells = experiment.cells(preset())
    self.assertCountEqual(cells, runs.ARMS)
    for some in cells.values():
      self.assertNotEmpty(some)
    # The common start of all curves.
    start = cells["temperature"][0]
    self.assertEqual(start, cells["before"][0]._replace(learns=1.0))

  @parameterized.parameters(
    (dict(evals=7), "evals=7 must divide the 100 steps of 5 epochs"),
    (
      dict(proxy=transformer.Config(vocab_size=9)),
      "proxy.vocab_size=9 is not that of the data, 12",
    ),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(experiment.Config(), **fields)


if __name__ == "__main__":
  absltest.main()
