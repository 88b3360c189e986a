"""Tests for trainers/attempts.py and trainers/progress.py."""

import json
import pathlib

from absl.testing import absltest
import optax

from tests.trainers import toy
from trainers import attempts, loop, progress


class AttemptsTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)

  def write(self, *rows, tokens=100, ideal=0.01, begins=1, torn=""):
    folder = self.root / "one"
    folder.mkdir()
    begin = {"begin": {"step": 0, "tokens": tokens, "ideal_seconds": ideal}}
    lines = [torn, json.dumps(begin)] * begins + [torn]
    (folder / attempts.NAME).write_text("\n".join(lines))
    rows = [{"step": s, "seconds": t, **more} for s, t, more in rows]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text)

  def row(self):
    found = attempts.table(self.root)
    return dict(zip(found.columns, found.rows[0], strict=True))

  def test_a_run_has_its_steps_and_the_times_it_was_begun(self):
    for num_steps in (2, 4, 4):  # the third has nothing to do
      config = loop.Config(num_steps=num_steps, log_every=1, eval_every=4)
      loop.fit(toy.problem(), optax.sgd(0.1), config, str(self.root / "run"))
    row = self.row()
    self.assertEqual((row["training"], row["steps"]), ("run", 4))
    self.assertEqual((row["restarts"], row["skipped steps"]), (1, 0))
    self.assertGreater(row["steps/s"], 0)
    self.assertIsNone(row["tokens/s"])  # the toy has none
    self.assertEqual(row["MFU"], "–")  # nor has a CPU a known peak
    self.assertIn("GiB of the host", row["peak memory"])

  def test_rates_leave_out_what_is_not_training(self):
    rows = [(0, 60, {"loss": 5.0})]  # after compilation
    rows += [(10 * i, 60 + 5 * i, {"loss": 4.0}) for i in (1, 2, 3)]
    rows += [(30, 300, {"eval/loss": 4.0}), (40, 305, {"loss": 3.0})]
    self.write(*rows)
    row = self.row()
    self.assertEqual(row["steps/s"], 2)
    self.assertEqual(row["tokens/s"], 200)
    self.assertEqual(row["MFU"], "2 %")
    self.assertEqual((row["final loss"], row["time"]), (3.0, "5m05s"))

  def test_a_clock_that_starts_anew_is_added_to_the_time_before(self):
    rows = [
      (i, t, {"loss": 1.0, "skipped": 2}) for i, t in enumerate([9, 4, 6])
    ]
    self.write(*rows, begins=3, torn='{"beg')
    row = self.row()
    self.assertEqual(row["time"], "15s")
    self.assertEqual((row["restarts"], row["skipped steps"]), (2, 2))
    self.assertEqual(row["peak memory"], "–")  # killed before it could say

  def test_a_run_that_wrote_no_row_is_there(self):
    self.write()
    row = self.row()
    self.assertEqual((row["steps"], row["time"]), (0, "0s"))
    self.assertIsNone(row["final loss"])

  def test_a_folder_without_trainings_has_no_table(self):
    self.assertIsNone(attempts.table(self.root))

  def test_the_page_has_a_line_for_each_column(self):
    self.write((0, 1, {"loss": 5.0}))
    lines = attempts.page(attempts.table(self.root)).splitlines()
    self.assertLen(lines, len(attempts.COLUMNS))
    self.assertRegex(lines[0], "^training +one$")
    self.assertRegex(lines[6], r"^final loss +5\.000$")


class ProgressTest(absltest.TestCase):
  def test_a_line_has_its_bar_its_rates_and_the_time_left(self):
    line = progress.render("run", 50, 200, 2.0, 4096, 1.5, 0.413)
    for part in (
      "█████░",
      "50/200",
      "loss 1.5",
      "2 steps/s",
      "8.19k tokens/s",
      "MFU 41 %",
      "1m15s left",
    ):
      self.assertIn(part, line)

  def test_what_is_not_known_is_left_out(self):
    line = progress.render("run", 0, 200, 0.0, 4096, 1.5)
    self.assertTrue(line.endswith("0/200  loss 1.5"))
    self.assertNotIn("tokens", progress.render("run", 1, 2, 1.0, 0, 1.5))
    self.assertNotIn("MFU", progress.render("run", 1, 2, 1.0, 7, 1.5))


if __name__ == "__main__":
  absltest.main()
