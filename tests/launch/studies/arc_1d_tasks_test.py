"""Tests for launch/studies/arc_1d_tasks.py."""

import json
import pathlib

from absl.testing import absltest
import chex
import numpy as np

from launch.studies import arc_1d_tasks


def write(folder, name, task):
  path = pathlib.Path(folder) / "family" / f"{name}.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(task))


def task(*rows):
  pairs = [{"input": [row], "output": [row[::-1]]} for row in rows]
  return {"train": pairs[:3], "test": pairs[3:]}


class Arc1dTasksTest(chex.TestCase):
  def test_a_folder_is_read_and_padded(self):
    folder = self.create_tempdir().full_path
    write(folder, "a", task([1, 2], [3], [4, 5, 6], [7, 8]))
    names, rows = arc_1d_tasks.read(pathlib.Path(folder))
    self.assertEqual(names, ("family",))
    np.testing.assert_array_equal(
      rows.inputs[0], [[1, 2, -1], [3, -1, -1], [4, 5, 6], [7, 8, -1]]
    )
    np.testing.assert_array_equal(rows.outputs[0, 3], [8, 7, -1])

  def test_a_file_that_is_no_task_is_named(self):
    for text, bad in {
      "bad.json is no ARC task": {"train": []},
      "bad.json has 3 pairs": task([1], [1], [1]),
      r"bad.json has the row \[10\]": task([10], [1], [1], [1]),
    }.items():
      folder = self.create_tempdir().full_path
      write(folder, "bad", bad)
      with self.assertRaisesRegex(ValueError, text):
        arc_1d_tasks.read(pathlib.Path(folder))
    short = task([1, 2], [1], [1], [1])
    short["test"][0]["output"] = [[1, 1]]
    write(folder, "bad", short)
    with self.assertRaisesRegex(ValueError, "output of different lengths"):
      arc_1d_tasks.read(pathlib.Path(folder))

  def test_without_data_it_says_what_it_is_and_where(self):
    for text in (
      "has no file <family>/<task>.json. 1D-ARC is 901 small tasks of 18",
      "https://github.com/khalil-research/1D-ARC and give its folder dataset",
      "--set=data=1D-ARC/dataset; --set=data=stand_in needs no data",
    ):
      with self.assertRaisesRegex(ValueError, text):
        arc_1d_tasks.read(pathlib.Path(self.create_tempdir().full_path))

  def test_stand_in_families_are_what_they_are_called(self):
    names, rows = arc_1d_tasks.stand_in(0, 5)
    for name, inputs, outputs in zip(
      np.array(names)[rows.family], rows.inputs, rows.outputs, strict=True
    ):
      if name == "move 2":
        np.testing.assert_array_equal(np.roll(inputs, 2, axis=-1), outputs)
      if name in ("fill", "hollow"):
        full, empty = {"fill": (outputs, inputs), "hollow": (inputs, outputs)}[
          name
        ]
        np.testing.assert_array_equal((empty > 0).sum(-1), 2)
        self.assertTrue((full > 0).any() and (full >= empty).all())
      if name == "denoise":
        np.testing.assert_array_equal(
          ((inputs > 0) & (outputs == 0)).sum(-1), 2
        )

  def test_a_tenth_is_held_out(self):
    _, rows = arc_1d_tasks.stand_in(0, 10)
    train, test = arc_1d_tasks.split(rows, 0)
    self.assertEqual((len(train.family), len(test.family)), (54, 6))
    together = np.concatenate([train.inputs, test.inputs])
    np.testing.assert_array_equal(
      np.unique(together, axis=0), np.unique(rows.inputs, axis=0)
    )


if __name__ == "__main__":
  absltest.main()
