"""Tests for launch/findings/arc_rows.py."""

from absl.testing import absltest
import numpy as np

from launch.findings import arc_rows as findings
from launch.studies.arc_1d import Asked
from launch.studies.arc_1d_tasks import Rows

NAMES = (*findings.WHOLE, *findings.NONE, "1d_fill")


def asked(exact):
  """A question of each family, of five cells and two of padding."""
  N = len(exact)
  inputs = np.tile([0, 1, 2, 0, 0, -1, -1], (N, 4, 1))
  outputs = np.tile([0, 0, 1, 2, 0, -1, -1], (N, 4, 1))
  right, wrong = outputs[0, 0], inputs[0, 0]
  last = np.where(np.array(exact)[:, None], right, wrong)
  steps = np.maximum(np.stack([inputs[:, -1], last]), 0)
  return Asked(Rows(np.arange(N), inputs, outputs), steps, np.array(exact))


def found(seeds, **fields):
  settings = {
    "data": "1D-ARC/dataset",
    "names": NAMES,
    "tasks": findings.TASKS,
    "asked": [asked(exact) for exact in seeds],
    "losses": np.ones((len(seeds), 200)),
    "parameters": 1234,
    "steps": 2,
    "batch_size": 16,
  }
  return findings.Found(**settings | fields)


AS_CAX = [True] * 5 + [False] * 3 + [True]


class ArcRowsTest(absltest.TestCase):
  def test_what_cax_found_is_what_holds(self):
    report = findings.report(found([AS_CAX] * 3))
    self.assertEqual(report.title, "One automaton for all of 1D-ARC")
    self.assertEqual([c.holds for c in report.claims], [True] * 4)
    self.assertEqual([c.paper for c in report.claims], [60.12, 41.56, 100, 0])
    self.assertAlmostEqual(report.claims[0].ours, 100 * 6 / 9)
    self.assertEqual(report.claims[2].ours, 100)

  def test_what_is_not_reached_does_not_hold(self):
    few = [False] * 8 + [True]
    report = findings.report(found([few] * 3))
    self.assertEqual(
      [c.holds for c in report.claims], [False, False, False, True]
    )
    other = [False] * 5 + [True] * 3 + [False]
    claims = findings.report(found([other, few, few])).claims
    self.assertEqual([c.holds for c in claims[2:]], [False, False])

  def test_seeds_far_apart_are_not_judged_by_their_mean(self):
    mixed = [[True] * 9, [True] * 9, [False] * 9]
    claims = findings.report(found(mixed)).claims
    self.assertEqual([c.holds for c in claims[:2]], [True, False])

  def test_no_number_of_other_rows_is_one_on_1d_arc(self):
    for data, title in (
      (None, "One automaton for rows that stand in for 1D-ARC"),
      ("mine", "One automaton for rows that are not all of 1D-ARC"),
    ):
      report = findings.report(found([AS_CAX] * 3, data=data, tasks=60))
      self.assertEqual(report.title, title)
      for claim in report.claims:
        self.assertIsNone(claim.holds)
        self.assertStartsWith(claim.text, "Not on 1D-ARC: ")
        self.assertIn("not comparable", claim.paper)
    report = findings.report(found([AS_CAX], data=None))
    self.assertIn("No number here is one on 1D-ARC", report.summary)

  def test_families_are_counted_over_seeds(self):
    report = findings.report(found([AS_CAX, [False] * 9]))
    rows = {row[0]: row[1:] for row in report.tables[0].rows}
    self.assertEqual(rows["1d_move_1p"], (2, 1, 50, "100 %"))
    self.assertEqual(rows["1d_recolor_oe"], (2, 0, 0, "0 %"))
    self.assertEqual(rows["1d_fill"], (2, 1, 50, None))
    report = findings.report(found([AS_CAX], names=(*NAMES, "none")))
    self.assertEqual(report.tables[0].rows[-1], ("none", 0, 0, None, None))

  def test_pictures_leave_padding_out_and_cross_what_is_wrong(self):
    pictures = findings.report(found([AS_CAX] * 3)).figures
    titles = [figure.title for figure in pictures]
    self.assertEqual(
      titles,
      ["Solved in each family", "Solved", "Not solved", "Loss in training"],
    )
    solved, failed = pictures[1], pictures[2]
    self.assertLen(solved.curves, 6)
    self.assertEqual(set(failed.curves), {f"{name}" for name in findings.NONE})
    # Three demonstrations, a rollout and an answer, of five cells each.
    self.assertLen(solved.curves["1d_fill"].y, 5 * (2 + 2 + 2 + 3 + 2))
    panel = findings._panels(asked([False]), 0)[-1]
    np.testing.assert_array_equal(
      panel.crossed, [[False, True, True, True, False], [False] * 5]
    )


if __name__ == "__main__":
  absltest.main()
