"""Tests for launch/studies/arc_tasks.py, and the published counts."""

import json
import pathlib

from absl.testing import absltest, parameterized

from launch.studies import arc_tasks
from simplex.data import grids
from trainers import arc

GOOD = [{"input": [[0, 1]], "output": [[1, 0]]}]
SMALLER = [{"input": [[0, 1]], "output": [[1]]}]


def choose(data, *names, **fields):
  settings = {"seed": 0, "sample": 5, "largest": 30, "held_out": False}
  return arc_tasks.choose(data, names, **{**settings, **fields})


class CountsTest(parameterized.TestCase):
  @parameterized.parameters(
    ("arcagi1", "training", 262, 172),
    ("arcagi1", "evaluation", 270, 193),
    ("arcagi2", "training", 680, 455),
    ("arcagi2", "evaluation", 81, 46),
  )
  def test_as_many_keep_their_sizes_and_colours(self, source, part, same, both):
    found = arc.load(source, part).tasks
    tasks = [grids.parse(name, data) for name, data in found.items()]
    self.assertLen(list(filter(grids.has_same_sizes, tasks)), same)
    self.assertLen(list(filter(grids.is_feasible, tasks)), both)

  def test_the_papers_tasks_are_chosen(self):
    self.assertEqual(arc_tasks.count_feasible("arcagi1"), 172)
    self.assertIsNone(arc_tasks.count_feasible("arcagi2"))
    self.assertLen(choose("arcagi1", "feasible").tasks, 172)

  def test_a_whole_part_counts_what_cannot_be_answered(self):
    found = choose("arcagi1", "evaluation")
    self.assertEqual(len(found.tasks) + len(found.refused), 400)
    reasons = set(why.partition(", ")[2][:10] for why in found.refused.values())
    self.assertEqual(reasons, {"train pair"})


class ChooseTest(absltest.TestCase):
  def folder(self, **tasks):
    folder = pathlib.Path(self.create_tempdir().full_path)
    for name, data in tasks.items():
      text = data if isinstance(data, str) else json.dumps(data)
      (folder / f"{name}.json").write_text(text)
    return str(folder)

  def test_bad_tasks_are_refused_and_do_not_stop_the_others(self):
    data = self.folder(
      good={"train": GOOD, "test": GOOD},
      no_json="{",
      no_task={"train": GOOD},
      changes={"train": SMALLER, "test": GOOD},
    )
    for names in (["training"], ["changes", "good", "no_json", "no_task"]):
      found = choose(data, *names)
      self.assertEqual([task.name for task in found.tasks], ["good"])
      self.assertEqual(set(found.refused), {"no_json", "no_task", "changes"})
      self.assertIn("not JSON", found.refused["no_json"])
      self.assertIn("'test' is missing", found.refused["no_task"])
      self.assertIn(
        "train pair 1 maps 1 x 2 to 1 x 1", found.refused["changes"]
      )

  def test_a_held_out_pair_takes_the_place_of_the_test(self):
    task = {"train": GOOD * 3, "test": SMALLER}
    (found,) = choose(self.folder(a=task), "a", held_out=True).tasks
    self.assertLen(found.train, 2)
    self.assertEqual(found.test[0].output.tolist(), [[1, 0]])

  def test_names_may_be_of_either_part(self):
    found = choose("arcagi1", "3618c87e", "00576224")
    self.assertEqual([t.name for t in found.tasks], ["3618c87e"])
    self.assertEqual(list(found.refused), ["00576224"])  # 2 x 2 to 6 x 6

  def test_a_sample_is_feasible_and_small(self):
    tasks = choose("arcagi1", "sample", sample=9, largest=6).tasks
    self.assertLen(tasks, 9)
    self.assertTrue(all(grids.is_feasible(task) for task in tasks))
    self.assertLessEqual(max(grids.side(t.train + t.test) for t in tasks), 6)

  def test_unknown_names_and_empty_sets_are_refused(self):
    data = self.folder(good={"train": GOOD, "test": GOOD}, bad="{")
    with self.assertRaisesRegex(
      ValueError,
      "no task 'goood'.*nearest are good.*; or one set alone: sample, f",
    ):
      choose(data, "goood")
    with self.assertRaisesRegex(ValueError, "nothing to answer: .*not JSON"):
      choose(data, "bad")


if __name__ == "__main__":
  absltest.main()
