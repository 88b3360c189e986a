"""Tests for launch/experiments/arc_automata.py."""

import dataclasses
import itertools
import json
import pathlib
from unittest import mock

from absl.testing import absltest, parameterized

from launch.experiments import arc_automata
from launch.studies import arc_lanes
from simplex.models import automaton
from trainers import files

PAIRS = [
  {"input": [[0, 1], [1, 0]], "output": [[1, 1], [1, 1]]},
  {"input": [[1, 0]], "output": [[1, 1]]},
]


class ArcAutomataTest(parameterized.TestCase):
  def tasks(self):
    folder = pathlib.Path(self.create_tempdir().full_path)
    for name in ("a", "b"):
      task = {"train": PAIRS, "test": PAIRS[:1]}
      (folder / f"{name}.json").write_text(json.dumps(task))
    (folder / "bad.json").write_text("[]")
    return str(folder)

  def test_a_run_goes_in_parts_and_says_what_is_left(self):
    config = arc_automata.Config(
      data=self.tasks(),
      tasks=("training",),
      recipe=arc_lanes.Recipe(
        arms=("plain",), num_seeds=1, updates=2, chunk=2, trials=1
      ),
      model=automaton.Config(
        hidden_channels=1, perception_width=2, width=2, steps=1
      ),
      together=1,
      minutes=0,
    )
    workdir = self.create_tempdir().full_path
    with self.assertRaisesRegex(files.InputError, "minutes=0 is too short"):
      arc_automata.run(config, workdir)
    clock = mock.Mock(monotonic=itertools.count(step=40).__next__)
    config = dataclasses.replace(config, minutes=1)
    with mock.patch.object(arc_automata, "time", clock):
      first = arc_automata.run(config, workdir)
    self.assertIn("1 tasks are still to be run", first.notes[-1])
    # What is done is not done again: a changed row stays as it is.
    (path,) = pathlib.Path(workdir, "tasks").glob("*.json")
    row = json.loads(path.read_text())
    path.write_text(json.dumps({**row, "seconds": 123.0}))
    report = arc_automata.run(dataclasses.replace(config, minutes=0), workdir)
    self.assertIn("1 tasks are still to be run", report.notes[-1])
    second = arc_automata.run(config, workdir)
    self.assertNotIn("still to be run", second.notes[-1])
    tables = {table.title: table for table in second.tables}
    rows = {row[0]: row for row in tables["Every task"].rows}
    self.assertEqual(rows[path.stem][-1], 123.0)
    self.assertEqual(set(rows), {"a", "b"})
    ((name, why),) = tables["Tasks that were not run"].rows
    self.assertEqual(name, "bad")
    self.assertIn("'train' is missing", why)

  @parameterized.parameters(
    ({"sample": 0}, "sample=0 must be at least 1"),
    ({"tasks": ()}, "tasks is empty"),
    ({"minutes": -1.0}, "minutes=-1.0 must be at least 0"),
  )
  def test_what_is_not_allowed_is_said(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(arc_automata.Config(), **fields)

  def test_the_paper_has_its_protocol(self):
    config = arc_automata.paper()
    recipe = config.recipe
    self.assertEqual(recipe.rollouts(30), 128)
    self.assertEqual(recipe.steps(config.model.steps, 30), 10)
    self.assertEqual(arc_automata.parameters(config.model), 10_410)


if __name__ == "__main__":
  absltest.main()
