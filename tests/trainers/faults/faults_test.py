"""Runs that are killed, stopped and moved, each in a process of its own."""

import dataclasses
import itertools
import os
import pathlib
import random
import time

from absl.testing import absltest
import chex
import jax

from tests.trainers import toy
from tests.trainers.faults import events, victim
from trainers import checkpoints, metrics
from trainers.step import init_state

KILLS = int(os.environ.get("SIMPLEX_KILLS", "3"))  # `make soak` has more
PERIOD = victim.CONFIG.save_every


def rows(workdir):
  """All rows, without the times that no two runs share."""
  found = metrics.read_rows(str(workdir))
  return [{k: v for k, v in row.items() if k != "seconds"} for row in found]


def state(workdir):
  init = lambda key: init_state(toy.problem(), victim.TX, key)
  shapes = jax.eval_shape(init, jax.random.key(0))
  return checkpoints.load(str(workdir), shapes)


def newest(workdir):
  """The newest checkpoint with a final name, and whether one is half done."""
  names = [x.name for x in (workdir / "checkpoints").glob("*")]
  steps = [int(name) for name in names if name.isdigit()]
  return max(steps, default=0), any("tmp" in name for name in names)


class FaultsTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)
    self.whole = self.root / "whole"

  def check_equals_the_whole_run(self, workdir):
    self.assertEqual(rows(workdir), rows(self.whole))
    chex.assert_trees_all_equal(state(workdir), state(self.whole))
    self.assertEqual(events.steps(workdir), events.steps(self.whole))
    folders = {x.name for x in (workdir / "checkpoints").iterdir()}
    self.assertEqual(folders, {"180", "200"})
    self.assertNotIn("cannot be read", victim.log(workdir).read_text())

  def check_is_readable_and_lost_little(self, workdir):
    step, half_done = newest(workdir)
    if step:
      folder = workdir / "checkpoints" / str(step)
      self.assertIsNone(checkpoints.damage(folder))
    if (workdir / "metrics.jsonl").exists():
      done = max((row["step"] for row in rows(workdir)), default=0)
      # A save ends before the next begins, one period later.
      self.assertLessEqual(done - step, PERIOD * (1 + half_done))

  def test_kills_at_random_moments_change_nothing(self):
    self.assertEqual(victim.end(victim.train, self.whole), 0)
    self.assertLen(rows(self.whole), 200 + 5)
    started = time.monotonic()
    self.assertEqual(victim.end(victim.train, self.root / "timed"), 0)
    seconds = time.monotonic() - started
    moments = random.Random(os.environ.get("SIMPLEX_SEED", "0"))
    kills = 0
    for life in itertools.count():
      if kills >= KILLS:
        break
      workdir = self.root / f"killed-{life}"
      code = None
      while code != 0:
        process = victim.start(victim.train, workdir)
        process.join(moments.uniform(0, seconds) if kills < KILLS else 300)
        process.kill()
        process.join()
        code = process.exitcode
        self.assertIn(code, (0, -9), victim.log(workdir))
        kills += code == -9
        self.check_is_readable_and_lost_little(workdir)
      self.check_equals_the_whole_run(workdir)
    print(f"{kills} kills in {life} runs of {seconds:.1f} seconds")

  def test_a_run_goes_on_with_half_its_devices(self):
    workdir = self.root / "moved"
    half = dataclasses.replace(victim.CONFIG, num_steps=100)
    self.assertEqual(victim.end(victim.train, workdir, half, 4), 0)
    self.assertEqual(victim.end(victim.train, workdir), 0)
    self.assertEqual(victim.end(victim.train, self.whole), 0)
    chex.assert_trees_all_close(state(workdir), state(self.whole), rtol=1e-5)

  def stopped_by_sigterm(self, fn):
    """Stops a run that would never end; returns the workdir."""
    workdir = self.root / "stopped"
    endless = dataclasses.replace(victim.CONFIG, num_steps=10**9)
    process = victim.start(fn, workdir, endless)
    self.addCleanup(process.kill)
    while newest(workdir)[0] < PERIOD:
      self.assertIsNone(process.exitcode)
      time.sleep(0.02)
    process.terminate()
    process.join(60)
    self.assertEqual(process.exitcode, victim.PREEMPTED)
    said = victim.log(workdir).read_text()
    self.assertRegex(said, "stopped and saved after step")
    step = int(said.split("stopped and saved after step ")[1].split()[0])
    self.assertEqual(newest(workdir), (step, False))
    return workdir

  def test_sigterm_saves_and_stops(self):
    self.stopped_by_sigterm(victim.train)

  def test_the_preemption_service_of_jax_saves_and_stops(self):
    self.stopped_by_sigterm(victim.train_as_one_of_many)


if __name__ == "__main__":
  absltest.main()
