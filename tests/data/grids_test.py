"""Tests for simplex/data/grids.py."""

from absl.testing import absltest, parameterized
import numpy as np

from simplex.data import grids


def raw(*sizes, colour=1):
  """Pairs in JSON's types, of the sizes (rows, columns) of their outputs."""
  rows = lambda size: [[colour] * size[1] for _ in range(size[0])]
  return [{"input": rows((2, 3)), "output": rows(size)} for size in sizes]


def task(train, test, name="a"):
  return grids.parse(name, {"train": train, "test": test})


class ParseTest(parameterized.TestCase):
  def test_a_task_becomes_arrays(self):
    found = task(raw((2, 3), (4, 1)), raw((2, 3), colour=7))
    self.assertLen(found.train, 2)
    np.testing.assert_array_equal(found.train[1].output, [[1]] * 4)
    np.testing.assert_array_equal(found.test[0].input, np.full((2, 3), 7))

  @parameterized.parameters(
    ([], "the field 'train' is missing"),
    ({"train": raw((2, 3))}, "the field 'test' is missing"),
    ({"train": 5, "test": []}, "the field 'train' is 5; it is a list"),
    ({"train": [], "test": []}, r"the field 'train' is \[\]"),
  )
  def test_a_missing_field_is_named(self, data, message):
    with self.assertRaisesRegex(ValueError, f"task 'a': {message}"):
      grids.parse("a", data)

  @parameterized.parameters(
    ("input", None, "input is None; a grid is a list of rows"),
    ("output", [], r"output is \[\]; a grid is a list of rows"),
    ("output", [1, 2], r"output is \[1, 2\]; a grid is a list of rows"),
    ("output", [[1], [1, 2]], r"output has rows of lengths \[1, 2\]"),
    ("input", [[]], r"input has rows of lengths \[0\]"),
    ("input", [[0]] * 31, "input is 31 x 1; at most 30 x 30"),
    ("input", [[0] * 31], "input is 1 x 31; at most 30 x 30"),
    ("output", [[1, 10]], "output has the colour 10; colours are"),
    ("output", [[-1]], "output has the colour -1"),
    ("output", [[1.5]], "output has the colour 1.5"),
    ("output", [[True]], "output has the colour True"),
    ("output", [["1"]], "output has the colour '1'"),
  )
  def test_a_bad_grid_is_named_with_its_pair(self, field, rows, message):
    pairs = raw((2, 3), (2, 3))
    pairs[1][field] = rows
    with self.assertRaisesRegex(ValueError, f"'a', train pair 2, {message}"):
      task(pairs, raw((2, 3)))

  def test_a_pair_without_a_field_is_named(self):
    with self.assertRaisesRegex(
      ValueError, "test pair 1 has no field 'output'"
    ):
      task(raw((2, 3)), [{"input": [[1]]}])


class ChoiceTest(parameterized.TestCase):
  def test_sizes_and_colours_make_a_task_feasible(self):
    same, other = raw((2, 3)), raw((3, 2))
    self.assertTrue(grids.is_feasible(task(same, same)))
    self.assertFalse(grids.is_feasible(task(same, other)))
    self.assertFalse(grids.is_feasible(task(other, same)))
    self.assertFalse(grids.is_feasible(task(same, raw((2, 3), colour=2))))

  def test_only_shown_sizes_are_checked(self):
    same, other = raw((2, 3)), raw((2, 3), (3, 2))
    grids.check_sizes(task(same, other))
    message = "task 'a', train pair 2 maps 2 x 3 to 3 x 2"
    with self.assertRaisesRegex(ValueError, message):
      grids.check_sizes(task(other, same))

  def test_a_held_out_pair_is_asked_and_the_test_is_gone(self):
    pairs = raw((2, 3), (1, 1), (4, 4))
    found = grids.held_out(task(pairs, raw((2, 3), colour=9)), which=1)
    self.assertEqual([p.output.shape for p in found.train], [(2, 3), (4, 4)])
    self.assertEqual([p.output.shape for p in found.test], [(1, 1)])
    with self.assertRaisesRegex(ValueError, "has one training pair"):
      grids.held_out(task(pairs[:1], pairs))

  def test_a_sample_keeps_to_its_rule_and_is_the_same_again(self):
    same, other = raw((2, 3)), raw((3, 2))
    tasks = [task(same, (same, other)[i % 2], f"t{i:02}") for i in range(40)]
    found = grids.sample(tasks, 10, seed=3)
    self.assertLen(found, 10)
    self.assertTrue(all(map(grids.is_feasible, found)))
    names = [t.name for t in found]
    self.assertEqual(names, sorted(names))
    backwards = grids.sample(tasks[::-1], 10, seed=3)
    self.assertEqual(names, [t.name for t in backwards])
    self.assertNotEqual(
      names, [t.name for t in grids.sample(tasks, 10, seed=4)]
    )
    self.assertEmpty(grids.sample(tasks, 10, seed=3, largest=2))

  def test_unknown_names_get_the_nearest(self):
    tasks = {"3618c87e": 0, "4258a5f9": 0}
    self.assertEqual(grids.named(tasks, ["4258a5f9"]), ["4258a5f9"])
    with self.assertRaisesRegex(
      ValueError, "'3618c87' .* nearest are 3618c87e"
    ):
      grids.named(tasks, ["3618c87"])


if __name__ == "__main__":
  absltest.main()
