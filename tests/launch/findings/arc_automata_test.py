"""Tests for launch/findings/arc_automata.py and its pictures."""

import pathlib

from absl.testing import absltest, parameterized
import numpy as np

from launch.findings import (
  arc_automata as findings,
  arc_automata_tables as tables,
)
from launch.studies.arc_rows import Lane, Picture, Row
from trainers import reports

ARMS = ("dihedral_colours", "plain")


def lane(arm, seed, exact, fits=True, least=-5.0):
  stays = seed != 2 if exact else None
  cells = 1.0 if exact else 0.9
  return Lane(arm, seed, 100, 0.1, fits, exact, cells, stays, -4.0, least)


def row(name, dihedral, plain, fits=True, attempts=None, least=-5.0):
  """`dihedral` and `plain`: how many of three seeds are exact."""
  lanes = [
    lane(arm, seed, seed < count, fits, least)
    for arm, count in zip(ARMS, (dihedral, plain), strict=True)
    for seed in range(3)
  ]
  seeds = [(s < dihedral, s < max(dihedral, plain)) for s in range(3)]
  found = attempts or (dihedral > 1, max(dihedral, plain) > 1)
  arms = dict(zip(ARMS, (dihedral > 1, plain > 1), strict=True))
  return Row(
    name, 9, 1.0, 3, 0.2, 8.0, lanes, seeds, arms, found, "dihedral_colours"
  )


ROWS = [
  row("a", 3, 3),
  row("b", 3, 1),
  row("c", 3, 0, attempts=(True, True)),
  row("d", 1, 0, attempts=(False, False)),
  row("e", 0, 0, least=-8.0),
  row("f", 0, 0, least=-8.0),
  row("g", 0, 0, fits=False),
]


def picture(name):
  del name
  grid = np.array([[0, 1], [2, 3]])
  frames = np.zeros((3, 2, 2, 3), np.uint8)
  return Picture(grid, grid, np.stack([grid, grid + 1]), frames)


def found(rows=ROWS, tasks="sample", **fields):
  settings = {
    "rows": rows,
    "asked": len(rows),
    "tasks": tasks,
    "data": "arcagi1",
    "held_out": False,
    "arms": ARMS,
    "parameters": 10_410,
    "updates": "600 updates of at most 4 rollouts, 3 seeds",
    "feasible": 172,
    "refused": {},
    "picture": picture,
  }
  return findings.Found(**{**settings, **fields})


def claim(report, *words):
  (one,) = (c for c in report.claims if all(w in c.text for w in words))
  return one


def table(report, title):
  (one,) = (t for t in report.tables if t.title == title)
  return one


class ClaimsTest(parameterized.TestCase):
  def test_counts_are_over_seeds_of_an_arm(self):
    report = findings.report(found())
    plain = claim(report, "One automaton", "plain")
    self.assertAlmostEqual(plain.ours, 100 * 4 / 3 / 7)  # 2, 1 and 1 tasks
    more = claim(report, "Symmetries help")
    self.assertAlmostEqual(more.ours, np.mean([4 - 2, 3 - 1, 3 - 1]))
    self.assertTrue(more.holds)
    both = claim(report, "A second arm helps")
    self.assertAlmostEqual(both.ours, np.mean([4 - 2, 3 - 1, 3 - 1]))

  @parameterized.parameters(
    ("sample", 172, None), ("feasible", 172, True), ("feasible", 5, None)
  )
  def test_only_all_feasible_tasks_are_set_beside_the_paper(
    self, tasks, count, holds
  ):
    rows = [row(f"t{i}", 0, 3 * (i < 23)) for i in range(count)]
    report = findings.report(found(rows, tasks))
    self.assertEqual(claim(report, "One automaton", "plain").holds, holds)

  def test_a_goal_is_reached_or_open_or_missed(self):
    solved = [row(f"t{i}", 3, 3) for i in range(5)]
    report = findings.report(found(solved, asked=28))
    self.assertTrue(claim(report, "All automata").holds)
    report = findings.report(found(solved[:4], asked=28))
    self.assertIsNone(claim(report, "All automata").holds)
    report = findings.report(found(solved[:4]))
    self.assertFalse(claim(report, "All automata").holds)
    report = findings.report(found(solved, held_out=True))
    self.assertNotIn("All automata", "".join(c.text for c in report.claims))

  def test_failures_that_fit_are_a_share_of_failures(self):
    one = claim(findings.report(found()), "Most automata that fail")
    # Of plain seeds fail 5, 6 and 6 tasks, all but "g" with a fit.
    self.assertAlmostEqual(one.ours, 100 * np.mean([4 / 5, 5 / 6, 5 / 6]))
    self.assertTrue(one.holds)

  def test_lasting_answers_are_a_share_of_right_ones(self):
    one = claim(findings.report(found()), "still stands")
    self.assertAlmostEqual(one.ours, 100 * np.mean([1, 1, 0]))
    self.assertFalse(one.holds)

  def test_without_a_right_answer_nothing_can_stand(self):
    report = findings.report(found([ROWS[-1]]))
    self.assertIsNone(claim(report, "still stands").holds)

  def test_the_lenient_criterion_adds_tasks(self):
    one = claim(findings.report(found()), "ARC-NCA")
    self.assertAlmostEqual(one.ours, np.mean([2 - 2, 2 - 1, 2 - 1]))


class ReportTest(absltest.TestCase):
  def test_tasks_end_in_one_of_four_ways(self):
    kinds = [tables.why(row) for row in ROWS]
    expected = ["solved"] * 3 + ["seeds", "overfits", "overfits", "underfits"]
    self.assertEqual(kinds, expected)
    counts = [
      r[1] for r in table(findings.report(found()), "How tasks end").rows
    ]
    self.assertEqual(counts, [3, 1, 2, 1])

  def test_every_task_is_in_one_bin_of_each_kind(self):
    rows = table(findings.report(found()), "Where it fails").rows
    for kind in tables.KINDS:
      self.assertEqual(sum(r[2] for r in rows if r[0] == kind), len(ROWS))

  def test_what_is_left_and_what_is_refused_is_said(self):
    report = findings.report(found(asked=10, refused={"bad": "no JSON"}))
    self.assertIn("2 tasks are still to be run", report.notes[-1])
    self.assertEqual(
      table(report, "Tasks that were not run").rows, [("bad", "no JSON")]
    )

  def test_the_page_shows_solved_and_failed_tasks_and_their_growth(self):
    report = findings.report(found())
    titles = [figure.title for figure in report.figures]
    self.assertEqual(
      titles, ["Tasks solved exactly", "Growth", "Solved", "Not solved"]
    )
    growth = report.figures[1].svg
    self.assertIn("a · solved", growth)
    self.assertIn("not solved", growth)
    folder = self.create_tempdir().full_path
    reports.write(report, folder, preset="tiny", config={}, seconds=1.0)
    self.assertIn("</html>", (pathlib.Path(folder) / "report.html").read_text())

  def test_an_answer_of_another_size_is_wrong_everywhere(self):
    other = lambda name: picture(name)._replace(wanted=np.zeros((1, 2), int))
    report = findings.report(found(ROWS[4:5], picture=other))
    # Two attempts of four cells, and two colours of each cross.
    self.assertEqual(report.figures[-1].svg.count("m0-"), 2 * 4 * 2)


if __name__ == "__main__":
  absltest.main()
