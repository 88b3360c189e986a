"""Tests for launch/findings/antidistillation.py."""

from typing import NamedTuple

from absl.testing import absltest
import numpy as np

from launch.findings import (
  antidistillation as findings,
  antidistillation_runs as runs,
)
from trainers import reports

SEEDS = 3


class Accuracy(NamedTuple):
  raw: np.ndarray
  forced: np.ndarray
  steps: np.ndarray


class Result(NamedTuple):
  teacher: Accuracy
  student: Accuracy
  losses: np.ndarray
  held_out: np.ndarray
  green: np.ndarray
  traces: np.ndarray


def accuracy(values, spread=0.01):
  """`[2 regimes, seeds, cells]`."""
  seeds_S1 = spread * np.arange(-1, SEEDS - 1)[:, None]
  x = np.stack([np.array(values) + seeds_S1] * 2)
  return Accuracy(x - 0.1, x, x)


def result(teacher, student, rise=0.5):
  C = len(teacher)
  green = np.full((2, SEEDS, C, 10), 0.5)
  green[..., 0] = 0.6
  losses = np.linspace(1, 0.5, 20) + np.zeros((2, SEEDS, C, 20))
  held_out = np.linspace(1, 1 + rise, 3) + np.zeros((2, SEEDS, C, 3))
  # A little noise, for intervals.
  noise = 0.01 * np.arange(SEEDS)[None, :, None, None]
  traces = np.tile([1, 2, 11, 2], (2, SEEDS, C, 3, 1))
  return Result(
    accuracy(teacher, 0),
    accuracy(student),
    losses + noise,
    held_out + noise * np.linspace(0, 1, 3),
    green,
    traces,
  )


def found(ours=0.5, temperature=0.9, rise=0.5, before=0.55):
  cells = {
    "before": [dict(tau=0.6, learns=0.0)],
    "temperature": [dict(tau=x, green=0.0) for x in (0.6, 2.0)],
    "antidistillation": [dict(tau=0.6, nats=8.0)],
    "random": [dict(tau=0.6, random_nats=8.0)],
    "permutation": [dict(tau=0.6, shuffled_nats=8.0)],
    "product": [dict(tau=0.6, product=0.5)],
    "flipped": [dict(tau=0.6, nats=-8.0)],
    "adaptive": [dict(tau=0.6, nats=8.0)],
    "fingerprint": [dict(tau=0.6, green=8.0)],
  }
  results = {arm: result([0.6], [0.7]) for arm in cells}
  results["before"] = result([1.0], [before])
  results["temperature"] = result([1.0, 0.6], [1.0, temperature])
  results["antidistillation"] = result([0.6], [ours], rise)
  epsilons = np.array([1e-3, 1e-2, 1e-1])
  fine, coarse = [0.1, 0.001, 0.2], [0.9, 0.2, 0.1]
  return runs.Found(
    subject="A teacher writes.",
    regimes=("every step counts", "redundant teacher"),
    cells=cells,
    results=results,
    read=str,
    steps=(np.full(SEEDS, 100), np.full(SEEDS, 80)),
    matched=(0.6,),
    epsilons=epsilons,
    differences={
      "float32": np.tile(fine, (SEEDS, 1)),
      "bfloat16": np.tile(coarse, (SEEDS, 1)),
    },
    evaluations=(0, 10, 20),
  )


def verdicts(found, *parts):
  """Whether the claims hold whose texts have these parts."""
  claims = findings.report(found).claims
  for part in parts:
    (holds,) = {c.holds for c in claims if part in c.text}
    yield holds


class ReportTest(absltest.TestCase):
  def test_claims_hold_when_the_numbers_say_so(self):
    holds = verdicts(
      found(ours=0.4),
      "below that of temperature by",
      "below where it began",
      "traces falls: last",
      "held-out traces rises",
      "In float32",
      "bfloat16 needs",
    )
    self.assertEqual(set(holds), {True})

  def test_claims_fail_when_the_numbers_say_so(self):
    holds = verdicts(
      found(ours=0.8, rise=-0.1),
      "below that of temperature by",
      "below where it began",
      "held-out traces rises",
      "recovers",
    )
    self.assertEqual(set(holds), {False})

  def test_an_adaptive_student_recovers_if_it_is_ahead(self):
    # It is at 70 %; what no sampler reaches is not measured.
    recovers, reached = verdicts(found(ours=0.4), "recovers", "at 90 %, raw")
    self.assertTrue(recovers)
    self.assertIsNone(reached)

  def test_students_are_compared_between_the_cells_around_a_match(self):
    student_S = runs.matched(found(), "temperature", 0, "forced", 80.0)
    np.testing.assert_allclose(student_S, [94, 95, 96], atol=1e-9)
    # A penalty begins where there is none.
    student_S = runs.matched(found(), "random", 0, "forced", 80.0)
    np.testing.assert_allclose(student_S, [84, 85, 86], atol=1e-9)

  def test_a_fingerprint_is_judged_against_other_keys(self):
    (table,) = (
      t for t in findings.report(found()).tables if t.title == "Fingerprints"
    )
    for row in table.rows:
      self.assertAlmostEqual(row[-1], 0.1)

  def test_a_setting_is_what_differs(self):
    self.assertEqual(
      runs.setting(dict(tau=0.6, random_nats=8.0, green=0.0, learns=1.0)),
      "tau 0.6, nats 8",
    )

  def test_tables_have_a_number_for_every_column(self):
    for table in findings.report(found()).tables:
      for row in table.rows:
        self.assertLen(row, len(table.columns))
        if table.title != "Students at equal teachers":
          self.assertNotIn("–", [reports.number(x) for x in row])


if __name__ == "__main__":
  absltest.main()
