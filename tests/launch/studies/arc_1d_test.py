"""Tests for launch/studies/arc_1d.py."""

import json
import pathlib

from absl.testing import absltest
import chex
import numpy as np

from launch.studies import arc_1d

TINY = arc_1d.Config(
  memory=2,
  perception_width=8,
  width=16,
  steps=3,
  num_steps=20,
  batch_size=4,
)


def write(folder, name, task):
  path = pathlib.Path(folder) / "family" / f"{name}.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(task))


def task(*rows):
  pairs = [{"input": [row], "output": [row[::-1]]} for row in rows]
  return {"train": pairs[:3], "test": pairs[3:]}


class Arc1dTest(chex.TestCase):
  def test_a_folder_is_read_and_padded(self):
    folder = self.create_tempdir().full_path
    write(folder, "a", task([1, 2], [3], [4, 5, 6], [7, 8]))
    names, rows = arc_1d.read(pathlib.Path(folder))
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
        arc_1d.read(pathlib.Path(folder))
    with self.assertRaisesRegex(ValueError, "has no file <family>/<task>"):
      arc_1d.read(pathlib.Path(self.create_tempdir().full_path))

  def test_stand_in_families_are_what_they_are_called(self):
    names, rows = arc_1d.stand_in(0, 5)
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

  def test_demonstrations_stand_above_the_cells(self):
    _, rows = arc_1d.stand_in(0, 1, length=10)
    state = arc_1d.begin(TINY.model, rows.inputs, rows.outputs)
    B, X = len(rows.family), 10
    chex.assert_shape(state, (B, 1, X, 10 + arc_1d.CONTEXT + 2))
    shown = state[:, 0, :, 10 : 10 + arc_1d.CONTEXT].reshape(B, X, 3, 2, 10)
    np.testing.assert_array_equal(
      shown.argmax(-1)[:, :, 1, 1], rows.outputs[:, 1]
    )
    # The answer to the question is not in the state.
    changed = rows.outputs.copy()
    changed[:, 3] = 0
    np.testing.assert_array_equal(
      state, arc_1d.begin(TINY.model, rows.inputs, changed)
    )

  def test_training_learns_from_its_rows_and_scores_the_others(self):
    names, rows = arc_1d.stand_in(0, 10)
    scores, losses = arc_1d.run(TINY, names, rows)
    self.assertLess(losses[-5:].mean(), losses[:5].mean() - 0.1)
    self.assertIn("all", scores)
    self.assertBetween(min(scores.values()), 0, 1)
    train, test = arc_1d.split(rows, 0)
    self.assertEqual((len(train.family), len(test.family)), (54, 6))


if __name__ == "__main__":
  absltest.main()
