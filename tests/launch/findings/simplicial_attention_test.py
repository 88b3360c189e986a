"""Tests for launch/findings/simplicial_attention.py."""

from absl.testing import absltest
import numpy as np

from launch.findings import simplicial_attention as findings
from simplex.analysis import scaling
from trainers import reports

STEPS = np.array([0, 10, 20])


def arm(last, spread=0.001, first=0.5):
  seeds = np.array([-spread, 0.0, spread])
  curve = np.stack([np.full(3, first), np.full(3, last), last + seeds], axis=1)
  return findings.Arm(1000, curve)


def found(simplicial=0.998, dot=0.51, bits=-0.1):
  arms = {"trilinear": arm(simplicial), "dot_product": arm(dot)}
  fits = {
    name: {
      m: scaling.fit(scaling.ACTIVE_PARAMETERS, losses)
      for m, losses in table.items()
    }
    for name, table in scaling.TABLE_2.items()
  }
  weights_HSR = np.zeros((2, 4, 4))
  weights_HSR[1, 1, 2] = 1.0
  return findings.Found(
    tasks={"match3": findings.Task(2, STEPS, arms, {})},
    hand={"trilinear": 1.0, "determinant": 0.99},
    attended=findings.Attended(
      "trilinear", np.array([0, 4, 8, 11]), 23, weights_HSR
    ),
    language=findings.Language(
      "prose",
      STEPS,
      {
        "simplicial": arm(3.0 + bits),
        "dot_product": arm(3.0),
        "local": arm(3.0),
      },
    ),
    scaling=fits,
  )


def verdict(found, part):
  claims = findings.report(found).claims
  (holds,) = {c.holds for c in claims if part in c.text}
  return holds


class ReportTest(absltest.TestCase):
  def test_claims_hold_when_the_numbers_say_so(self):
    self.assertTrue(verdict(found(), "trilinear reaches 99"))
    self.assertTrue(verdict(found(), "dot-product stays within"))
    self.assertTrue(verdict(found(), "than dot-product, local"))

  def test_claims_fail_when_the_numbers_say_so(self):
    bad = found(simplicial=0.9905, dot=0.7, bits=0.1)
    # The mean is above 99 %, the interval is not.
    self.assertFalse(verdict(bad, "trilinear reaches 99"))
    self.assertFalse(verdict(bad, "dot-product stays within"))
    self.assertFalse(verdict(bad, "than dot-product, local"))

  def test_hand_built_weights_must_answer_every_position(self):
    self.assertTrue(verdict(found(), "trilinear, d = 5"))
    self.assertFalse(verdict(found(), "determinant, d = 7"))

  def test_three_points_show_no_larger_exponent(self):
    for name in scaling.TABLE_2:
      self.assertFalse(verdict(found(), f"Table 2, {name}:"))

  def test_the_head_that_looks_at_matches_is_shown(self):
    (figure,) = (
      f for f in findings.report(found()).figures if "attends" in f.title
    )
    self.assertIn("head 2", figure.curves)

  def test_tables_have_a_number_for_every_column(self):
    for table in findings.report(found()).tables:
      for row in table.rows:
        self.assertLen(row, len(table.columns))
        self.assertNotIn("–", [reports.number(x) for x in row])


if __name__ == "__main__":
  absltest.main()
