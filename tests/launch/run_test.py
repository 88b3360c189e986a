"""Tests for launch/run.py: what a user types, and what comes back."""

import dataclasses
import errno
import json
import pathlib
import signal
import subprocess
import time
from unittest import mock

from absl import app
from absl.testing import absltest, flagsaver

from launch import run
from tests.launch import command
from tests.launch.command import launch
from trainers import checkpoints, files, interrupts

NAME = "random_computation"


class RunTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = pathlib.Path(self.create_tempdir().full_path) / "run"

  def test_the_list_names_every_experiment(self):
    result = launch("--list")
    self.assertEqual(result.returncode, 0)
    for name in run.NAMES:
      self.assertIn(name, result.stdout)

  def test_a_bad_flag_is_explained_and_nothing_is_written(self):
    result = launch(
      f"--experiment={NAME}", f"--workdir={self.workdir}", "--set=model.with=3"
    )
    self.assertNotEqual(result.returncode, 0)
    self.assertIn("did you mean one of: model.width", result.stderr)
    self.assertNotIn("Traceback", result.stderr)
    self.assertFalse(self.workdir.exists())

  def test_a_bad_data_path_is_explained_and_can_be_corrected(self):
    arguments = (
      f"--experiment={NAME}",
      "--preset=tiny",
      f"--workdir={self.workdir}",
    )
    result = launch(*arguments, "--set=data.paths=no/such/file")
    self.assertNotEqual(result.returncode, 0)
    self.assertIn("'no/such/file' does not exist", result.stderr)
    self.assertNotIn("Traceback", result.stderr)
    module = run.load(NAME)
    self.assertFalse(run.claim_workdir(self.workdir, module.tiny()))

  def test_a_stopped_run_continues_to_the_same_numbers(self):
    arguments = (
      f"--experiment={NAME}",
      "--preset=tiny",
      "--set=controls=",
      "--set=sizes=",
      "--set=pretrain.num_steps=2000",
      "--set=pretrain.save_every=500",
      "--set=pretrain.eval_every=500",
    )
    stopped = (*arguments, f"--workdir={self.workdir}")
    process = subprocess.Popen(
      command.line(*stopped),
      cwd=command.ROOT,
      env=command.environment(),
      stdout=subprocess.PIPE,
      text=True,
    )
    rows = self.workdir / "pretrain" / "pretrained" / "metrics.jsonl"
    while not rows.exists() or rows.stat().st_size < 1000:
      self.assertIsNone(process.poll(), "it ended before it was stopped")
      time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    self.assertEqual(process.returncode, 130)
    self.assertRegex(
      output, r"saved after step \d+. The same command continues"
    )
    self.assertEqual(launch(*stopped).returncode, 0)
    whole = self.workdir.with_name("whole")
    self.assertEqual(launch(*arguments, f"--workdir={whole}").returncode, 0)
    claims = lambda root: json.loads((root / "report.json").read_text())[
      "claims"
    ]
    self.assertEqual(claims(self.workdir), claims(whole))

  def run_that_raises(self, error):
    """Runs the launcher, whose experiment raises; returns what comes out."""
    flagged = flagsaver.flagsaver(
      experiment=NAME, preset="tiny", workdir=str(self.workdir)
    )
    experiment = mock.patch.object(run.load(NAME), "run", side_effect=error)
    with flagged, experiment, self.assertRaises(BaseException) as caught:
      run.main(["run"])
    return caught.exception

  def test_a_run_that_was_stopped_has_an_exit_code_of_its_own(self):
    for kind, code in ((KeyboardInterrupt, 130), (interrupts.Preempted, 143)):
      self.assertEqual(self.run_that_raises(kind("saved")).code, code)

  def test_a_path_that_is_no_input_is_a_usage_error(self):
    found = self.run_that_raises(files.InputError("'x' is no folder"))
    self.assertIsInstance(found, app.UsageError)
    self.assertIn("'x' is no folder", str(found))

  def test_training_that_breaks_says_what_to_try(self):
    found = self.run_that_raises(FloatingPointError("loss is nan"))
    self.assertIsInstance(found, SystemExit)
    self.assertRegex(str(found), "(?s)loss is nan.*lower learning rate")

  def test_a_disk_that_fails_says_what_to_do(self):
    for kind in (OSError, checkpoints.SaveError):
      found = self.run_that_raises(kind(errno.ENOSPC, "not saved"))
      self.assertIsInstance(found, SystemExit)
      self.assertRegex(
        str(found),
        "(?s)not saved.*disk is full; free some space.*same command continues",
      )

  def test_an_error_that_is_not_of_the_disk_keeps_its_traceback(self):
    error = FileNotFoundError(errno.ENOENT, "a bug")
    self.assertIs(self.run_that_raises(error), error)

  def test_an_unknown_experiment_names_the_nearest(self):
    with self.assertRaisesRegex(ValueError, f"did you mean '{NAME}'"):
      run.load("random_computations")

  def test_an_unknown_preset_lists_the_known(self):
    with self.assertRaisesRegex(ValueError, "one of: default, tiny, paper"):
      run.preset(run.load(NAME), "huge")

  def test_a_workdir_is_for_one_config(self):
    module = run.load(NAME)
    self.assertFalse(run.claim_workdir(self.workdir, module.tiny()))
    (self.workdir / "pretrain").mkdir()
    self.assertTrue(run.claim_workdir(self.workdir, module.tiny()))
    with self.assertRaisesRegex(ValueError, "context: 16 there, 64 here"):
      run.claim_workdir(self.workdir, module.Config())

  def test_a_run_continues_at_another_pace(self):
    config = run.load("arc_automata").tiny()
    self.assertFalse(run.claim_workdir(self.workdir, config))
    (self.workdir / "tasks").mkdir()
    config = dataclasses.replace(config, minutes=5.0)
    self.assertTrue(run.claim_workdir(self.workdir, config))
    with self.assertRaisesRegex(
      ValueError, "config:\n  seed: 0 there, 1 here\n"
    ):
      run.claim_workdir(self.workdir, dataclasses.replace(config, seed=1))

  def test_a_workdir_that_is_a_file_is_refused(self):
    self.workdir.write_text("")
    with self.assertRaisesRegex(ValueError, "a file has this name"):
      run.claim_workdir(self.workdir, run.load(NAME).tiny())


if __name__ == "__main__":
  absltest.main()
