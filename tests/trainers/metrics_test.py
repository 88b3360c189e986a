"""Tests for trainers/metrics.py and trainers/progress.py."""

import json
import math
import pathlib

from absl.testing import absltest, parameterized
import jax.numpy as jnp
import numpy as np

from trainers import metrics, progress


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

  @parameterized.parameters("loss", "update_norm")
  def test_a_number_that_is_not_finite_stops_the_run(self, name):
    with self.assertRaisesRegex(FloatingPointError, f"{name} is inf at step 3"):
      with metrics.Writer(self.workdir) as writer:
        writer.write(3, {"loss": 1.0, name: math.inf})
    self.assertIsNone(json.loads(self.path.read_text())[name])

  def test_tensorboard_gets_the_rows(self):
    self.write(0, 1)
    events = list((pathlib.Path(self.workdir) / "tensorboard").iterdir())
    self.assertNotEmpty(events)
    self.assertIn(b"loss", events[0].read_bytes())

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
