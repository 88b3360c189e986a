"""Tests for launch/dry_run.py: what a user types, and what comes back."""

import dataclasses
import pathlib
import types

from absl import app
from absl.testing import absltest
import optax

from launch import dry_run, run
from tests.launch import command
from tests.trainers import toy
from trainers import loop, sharding

TX = optax.sgd(0.1)


@dataclasses.dataclass(frozen=True)
class Config:
  train: loop.Config | None = loop.Config()


def experiment(train):
  return types.SimpleNamespace(__name__="launch.experiments.toy", run=train)


# What trains a model with `trainers.loop`.
TRAINED = ("random_computation", "forgetting_transformer", "singlora")


class DryRunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path) / "run"

  def launch(self, *arguments):
    return command.launch(
      "--experiment=random_computation",
      "--preset=tiny",
      "--set=generator.mixture=uniform",  # compiles quickly
      f"--workdir={self.workdir}",
      *arguments,
    )

  def test_a_dry_run_prints_its_plan_and_writes_nothing(self):
    result = self.launch("--dry_run")
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn("params/embed/embedding", result.stdout)
    self.assertIn("11,312 parameters", result.stdout)
    self.assertIn(
      "compiled for 2 x cpu (data=2, model=1), which", result.stdout
    )
    self.assertFalse(self.workdir.exists())

  def test_a_topology_is_for_dry_runs(self):
    result = self.launch("--topology=v5e:2x2")
    self.assertIn("--topology is for --dry_run", result.stderr)
    self.assertNotIn("Traceback", result.stderr)

  def test_an_unknown_topology_lists_examples(self):
    result = self.launch("--dry_run", "--topology=v9:2")
    self.assertIn("--topology=v9:2 is not like one of: v5p", result.stderr)

  def test_the_first_training_of_an_experiment_is_planned(self):
    def train(config, workdir):
      loop.fit(toy.problem(), TX, config.train, workdir)
      self.fail("it went on")

    module = experiment(train)
    text = dry_run.run(module, Config(), sharding.make_mesh())
    self.assertIn("4 parameters", text)

  def test_an_experiment_without_a_training_says_so(self):
    for name in run.NAMES:
      module = run.load(name)
      if name not in TRAINED:
        with self.assertRaisesRegex(app.UsageError, f"{name} has nothing to"):
          dry_run.run(module, module.tiny(), sharding.make_mesh())
    none = experiment(lambda config, workdir: None)
    with self.assertRaisesRegex(app.UsageError, "ended without a training"):
      dry_run.run(none, Config(), sharding.make_mesh())

  def test_a_batch_that_does_not_divide_is_explained(self):
    train = lambda config, workdir: loop.fit(
      toy.problem(batch_size=6), TX, config.train, workdir
    )
    with self.assertRaisesRegex(
      app.UsageError, "batch of 6 .* does not divide"
    ):
      dry_run.run(experiment(train), Config(), sharding.make_mesh())

  def test_bytes_are_written_as_a_person_would(self):
    self.assertEqual(dry_run.size(512), "512 B")
    self.assertEqual(dry_run.size(31_825_968), "30.4 MiB")
    self.assertEqual(dry_run.size(95 * 2**30), "95 GiB")
    self.assertEqual(dry_run.size(3 * 2**40), "3 TiB")


if __name__ == "__main__":
  absltest.main()
