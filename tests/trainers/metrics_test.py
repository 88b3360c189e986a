"""Tests for trainers/metrics.py and trainers/progress.py."""

import json
import math
import pathlib
import resource

from absl.testing import absltest, parameterized
import jax.numpy as jnp
import numpy as np

from tests.trainers.faults import events
from trainers import files, metrics, progress


class WriterTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path
    self.path = pathlib.Path(self.workdir) / "metrics.jsonl"

  def write(self, *steps, start=0, **kwargs):
    with metrics.Writer(self.workdir, step=start, **kwargs) as writer:
      for step in steps:
        writer.write(step, {"loss": jnp.asarray(10.0 - step)})

  def test_a_row_is_written_when_the_next_one_arrives(self):
    with metrics.Writer(self.workdir) as writer:
      writer.write(0, {"loss": 1.0})
      self.assertEqual(self.path.read_text(), "")
      writer.write(1, {"loss": 0.5})
      self.assertEqual(json.loads(self.path.read_text())["loss"], 1.0)
    np.testing.assert_array_equal(
      metrics.read(self.workdir, "loss"), [[0, 1], [1.0, 0.5]]
    )

  def test_continuing_drops_the_rows_that_will_be_made_again(self):
    self.write(0, 1, 2, 3)
    self.write(2, start=2)
    np.testing.assert_array_equal(
      metrics.read(self.workdir, "loss")[0], [0, 1, 2]
    )

  def test_a_torn_last_line_is_dropped(self):
    self.write(0, 1)
    with self.path.open("a") as f:
      f.write('{"step": 2, "lo')
    self.write(2, start=2)
    np.testing.assert_array_equal(
      metrics.read(self.workdir, "loss")[0], [0, 1, 2]
    )

  def test_a_line_that_is_no_row_is_skipped_and_named(self):
    self.write(0, 1)
    self.path.write_bytes(self.path.read_bytes() + b"\0\0{\xff\n")
    with self.assertLogs(level="WARNING") as logs:
      self.write(2, start=2)
    self.assertIn("metrics.jsonl, line 3 is no row, skipped", str(logs.output))
    np.testing.assert_array_equal(
      metrics.read(self.workdir, "loss")[0], [0, 1, 2]
    )

  def test_seconds_go_on_where_they_were(self):
    self.path.write_text('{"step": 0, "seconds": 1000.0, "loss": 1.0}\n')
    self.write(1, start=1)
    _, seconds = metrics.read(self.workdir, "seconds")
    self.assertEqual(seconds[0], 1000)
    self.assertBetween(seconds[1], 1000, 1060)

  def test_a_save_waits_for_the_rows_before_it_and_writes_none(self):
    with metrics.Writer(self.workdir) as writer:
      writer.write(0, {"loss": 1.0})
      writer.sync(1, {"loss": 0.5})
      self.assertLen(metrics.read_rows(self.workdir), 1)
      self.assertEqual(events.steps(self.path.parent)["loss"], [0])
      with self.assertRaisesRegex(FloatingPointError, "loss is nan at step 2"):
        writer.sync(2, {"loss": math.nan})

  def test_steps_that_were_undone_may_break_as_often_as_is_allowed(self):
    broken = lambda times: {"loss": math.nan, "skipped_in_a_row": times}
    with metrics.Writer(self.workdir, max_skipped=2) as writer:
      writer.sync(5, broken(2))
      with self.assertRaisesRegex(
        FloatingPointError, "loss is nan at step 6, 3 times in a row"
      ):
        writer.sync(6, broken(3))

  def test_a_full_disk_is_an_error_and_the_torn_row_goes(self):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
      with self.assertRaisesRegex(OSError, "File too large") as caught:
        self.write(*range(100))
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    self.assertIn("not be that large", files.remedy(caught.exception))
    whole = len(metrics.read_rows(self.workdir))
    self.assertBetween(whole, 1, 10)
    self.write(whole, start=whole)
    self.assertEqual(
      [row["step"] for row in metrics.read_rows(self.workdir)],
      list(range(whole + 1)),
    )

  @parameterized.parameters("loss", "update_norm")
  def test_a_number_that_is_not_finite_stops_the_run(self, name):
    with self.assertRaisesRegex(FloatingPointError, f"{name} is inf at step 3"):
      with metrics.Writer(self.workdir) as writer:
        writer.write(3, {"loss": 1.0, name: math.inf})
    self.assertIsNone(json.loads(self.path.read_text())[name])

  def test_tensorboard_shows_every_row_once(self):
    self.write(0, 1, 2, 3)
    self.write(2, 3, start=2)
    shown = events.steps(self.path.parent)
    self.assertEqual(shown["loss"], [0, 1, 2, 3])
    self.assertEqual(shown["seconds"], [0, 1, 2, 3])

  def test_an_unknown_metric_lists_the_known(self):
    self.write(0)
    with self.assertRaisesRegex(KeyError, "there are .*'loss'"):
      metrics.read(self.workdir, "lss")


class ProgressTest(parameterized.TestCase):
  def test_the_line_has_rates_and_the_time_left(self):
    line = progress.render("run", 50, 100, 2.0, 1000, 1.5)
    for part in ("50/100", "2 steps/s", "2k tokens/s", "25s left", "1.5"):
      self.assertIn(part, line)

  def test_rates_are_not_guessed(self):
    self.assertNotIn("/s", progress.render("run", 0, 100, 0.0, 1000, 1.5))

  @parameterized.parameters((42, "42s"), (187, "3m07s"), (8100, "2h15m"))
  def test_durations_read_like_time(self, seconds, text):
    self.assertEqual(progress.duration(seconds), text)


if __name__ == "__main__":
  absltest.main()
