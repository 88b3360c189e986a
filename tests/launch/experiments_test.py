"""Every experiment obeys the contract and runs at tiny()."""

import dataclasses
import importlib
import json
import pathlib

from absl.testing import absltest, parameterized

from launch import overrides, run
from trainers import reports


class ExperimentsTest(parameterized.TestCase):
  @parameterized.parameters(*run.NAMES)
  def test_a_tiny_run_writes_a_report(self, name):
    module = run.load(name)
    config, workdir = module.tiny(), self.create_tempdir().full_path
    report = module.run(config, workdir)
    settings = overrides.flatten(config)
    reports.write(report, workdir, preset="tiny", config=settings, seconds=1.0)
    root = pathlib.Path(workdir)
    self.assertNotEmpty(report.claims)
    self.assertNotEmpty(report.figures)
    self.assertIn("</html>", (root / "report.html").read_text())
    data = json.loads((root / "report.json").read_text())
    for key in ("text", "paper", "ours", "interval", "unit", "holds"):
      self.assertIn(key, data["claims"][0])

  @parameterized.parameters(*run.NAMES)
  def test_the_docstring_has_the_command_and_the_paper(self, name):
    module = importlib.import_module(f"launch.experiments.{name}")
    self.assertIn(f"--experiment={name}", module.__doc__)
    self.assertIn("https://arxiv.org/abs/", module.__doc__)

  @parameterized.parameters(*run.NAMES)
  def test_every_preset_is_hashable_and_has_a_seed(self, name):
    module = run.load(name)
    for preset in (module.Config, module.tiny, module.paper):
      hash(preset())
      self.assertTrue(dataclasses.is_dataclass(preset()))
      self.assertEqual(overrides.apply(preset(), ["seed=5"]).seed, 5)


if __name__ == "__main__":
  absltest.main()
