"""Every experiment obeys the contract and runs at tiny()."""

import dataclasses
import json
import pathlib

from absl.testing import absltest, parameterized
import jax

from launch import overrides, run
from tests.launch import command


class ExperimentsTest(parameterized.TestCase):
  @parameterized.product(name=run.NAMES)
  def test_a_tiny_run_ends_in_its_report(self, name):
    workdir = self.create_tempdir().full_path
    result = command.launch(
      f"--experiment={name}",
      "--preset=tiny",
      f"--workdir={workdir}",
      xla_flags=command.QUICK,
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn("report.html", result.stdout)
    root = pathlib.Path(workdir)
    self.assertIn("</html>", (root / "report.html").read_text())
    self.assertIn("| claim", (root / "report.md").read_text())
    self.assertNotEmpty(list(root.glob("*.csv")))
    report = json.loads((root / "report.json").read_text())
    self.assertEqual(report["preset"], "tiny")
    self.assertNotEmpty(report["claims"])
    for claim in report["claims"]:
      for key in ("text", "paper", "ours", "interval", "unit", "holds"):
        self.assertIn(key, claim)

  @parameterized.product(name=run.NAMES)
  def test_the_docstring_has_the_command_and_the_paper(self, name):
    module = run.load(name)
    self.assertIn(f"--experiment={name}", module.__doc__)
    self.assertIn("https://arxiv.org/abs/", module.__doc__)

  @parameterized.product(name=run.NAMES)
  def test_every_preset_is_hashable_and_has_a_seed(self, name):
    module = run.load(name)
    for preset in (module.Config, module.tiny, module.paper):
      hash(preset())
      self.assertTrue(dataclasses.is_dataclass(preset()))
      self.assertEqual(overrides.apply(preset(), ["seed=5"]).seed, 5)

  @parameterized.product(name=run.NAMES, preset=("default", "paper"))
  def test_the_parameters_of_a_preset_have_shapes(self, name, preset):
    module = run.load(name)
    if hasattr(module, "problem"):
      problem = module.problem(run.preset(module, preset))
      params = jax.eval_shape(problem.init, jax.random.key(0))
      self.assertNotEmpty(jax.tree.leaves(params))


if __name__ == "__main__":
  absltest.main()
