"""Tests for launch/experiments/antidistillation.py."""

import dataclasses
import importlib.util
import pathlib

from absl import app
from absl.testing import absltest, parameterized
import chex

from launch.experiments import antidistillation as experiment
from launch.findings import antidistillation_runs as runs
from launch.studies import text_traces
from simplex.models import transformer
from tests.launch import toy_folders


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
    (dict(evals=7), "evals=7 must divide the 240 steps of 12 epochs"),
    (
      dict(proxy=transformer.Config(vocab_size=9)),
      "proxy.vocab_size=9 is not that of the data, 12",
    ),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(experiment.Config(), **fields)

  def test_the_paper_says_what_to_download(self):
    with self.assertRaisesRegex(
      app.UsageError,
      "folders.teacher=models/DeepSeek-R1-Distill-Qwen-7B: a folder with",
    ):
      experiment.run(experiment.paper(), "")


class FoldersTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    if importlib.util.find_spec("tokenizers") is None:
      self.skipTest("tokenizers is not installed")
    self.root = pathlib.Path(self.create_tempdir().full_path)

  def config(self, count, **changes):
    folders = toy_folders.write(self.root, count)
    return dataclasses.replace(experiment.tiny(), folders=folders, **changes)

  def test_models_of_folders_end_in_a_report(self):
    report = experiment.run(self.config(14), "")
    self.assertIn(f"{self.root}/teacher", report.summary)
    claims = {c.text.partition(":")[0]: c for c in report.claims}
    fall = claims["The loss of training on poisoned traces falls"]
    self.assertLen(fall.interval, 2)
    samplers, settings = zip(
      *(row[:2] for t in report.tables if "Every" in t.title for row in t.rows),
      strict=True,
    )
    self.assertEqual(set(samplers), {runs.ARMS[x] for x in text_traces.ARMS})
    self.assertIn("tau 0.6, nats 4", settings)

  def test_too_few_questions_are_a_usage_error(self):
    with self.assertRaisesRegex(
      app.UsageError, "questions.jsonl has 3 questions, not 12: set fewer"
    ):
      experiment.run(self.config(3), "")


if __name__ == "__main__":
  absltest.main()
