"""Tests for launch/experiments/arc_rows.py."""

import json
import pathlib

from absl import app
from absl.testing import absltest, parameterized

from launch.experiments import arc_rows
from launch.studies import arc_1d


class ArcRowsTest(parameterized.TestCase):
  def folder(self):
    root = pathlib.Path(self.create_tempdir().full_path)
    for i in range(10):
      row = [[0, 1 + i % 3, 0, 0]]
      task = dict.fromkeys(("train", "test"), [{"input": row, "output": row}])
      task["train"] = 3 * task["train"]
      path = root / f"family_{i % 2}" / f"{i}.json"
      path.parent.mkdir(exist_ok=True)
      path.write_text(json.dumps(task))
    return str(root)

  def test_a_folder_is_trained_on_and_asked(self):
    config = arc_rows.Config(
      data=self.folder(),
      num_seeds=2,
      rule=arc_1d.Config(
        memory=1, perception_width=2, width=2, steps=2, num_steps=3
      ),
    )
    report = arc_rows.run(config, self.create_tempdir().full_path)
    self.assertEndsWith(report.title, "not all of 1D-ARC")
    rows = report.tables[0].rows
    self.assertEqual([row[0] for row in rows], ["family_0", "family_1"])
    # A tenth, of each seed; a new rule changes nothing, which is right here.
    self.assertEqual(sum(row[1] for row in rows), 2)
    self.assertEqual(report.claims[0].ours, 100)

  def test_without_data_the_message_says_how_to_get_it(self):
    config = arc_rows.Config(data="nowhere")
    with self.assertRaisesRegex(app.UsageError, "nowhere has no file.*git clo"):
      arc_rows.run(config, "")

  @parameterized.parameters("num_seeds", "stand_ins")
  def test_bad_settings_are_named(self, name):
    with self.assertRaisesRegex(ValueError, f"{name}=0 must be at least 1"):
      arc_rows.Config(**{name: 0})


if __name__ == "__main__":
  absltest.main()
