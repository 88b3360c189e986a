"""Tests for launch/findings/abrupt_learning.py and what it reads."""

from absl.testing import absltest, parameterized
import numpy as np

from launch.findings import (
  abrupt_learning as findings,
  abrupt_learning_pictures as pictures,
  abrupt_learning_runs as plateaus,
)
from simplex.analysis import plateau
from trainers import reports

STEPS = np.arange(0, 310, 10)
LENGTH = 4
LEVEL = plateau.moving_sum_levels(LENGTH, 2, 17).answers


def step_up(at):
  """From 0 to 1 within 20 steps around `at`, `[seeds, evals]`."""
  at = np.asarray(at, float)[:, None]
  return np.clip((STEPS - at) / 20 + 0.5, 0, 1)


def run(drop=(140, 150, 160), lead=30, loss=LEVEL, cosine=0.97):
  drop = np.array(drop)
  solved, copied = step_up(drop), step_up(np.full(len(drop), 50))
  sums = 0.06 + 0.94 * solved
  accuracy = np.stack([copied, sums, sums, sums], axis=-1)
  repetition = np.where(solved > 0.5, 3 / 4 / 16, 0.7)
  peak = np.where(solved > 0.5, 0.01, cosine)
  rested = np.where(copied < 1, 2.83, loss) * (1 - solved)
  ones = np.ones_like(solved)
  return plateaus.Run(
    steps=STEPS,
    parameters=1000,
    loss=rested,
    answer_loss=rested,
    accuracy=accuracy,
    repetition=repetition,
    true_repetition=0.05 * ones,
    entropy=ones,
    cosine=peak,
    progress=0.1 + 0.7 * step_up(drop - lead),
  )


def found(base=None, **runs):
  runs = {"base": base or run(), **runs}
  own = tuple(n for n in runs if n in ("gain_10", "gain_0.2", "MLP", "softmax"))
  return pictures.Found(LENGTH, 2, 17, runs, own)


def verdict(found, part):
  claims = findings.report(found).claims
  (holds,) = {c.holds for c in claims if part in c.text}
  return holds


class PlateausTest(absltest.TestCase):
  def test_drops_and_leads_are_those_of_each_seed(self):
    curves = run(drop=(140, 150, 400))
    # Three quarters of the answers are sums, and the copies are known before.
    at = plateaus.drops(curves)
    np.testing.assert_allclose(at[:2], [135.8, 145.8], atol=0.1)
    self.assertTrue(np.isnan(at[2]))
    lead = plateaus.leads(curves)
    np.testing.assert_allclose(lead[:2], 30, atol=5)
    self.assertTrue(np.isnan(lead[2]))

  def test_a_plateau_is_where_copies_are_known_and_sums_are_not(self):
    all_of = plateaus.of(run(drop=(150, 150)), window=2)
    np.testing.assert_allclose(all_of.length, 90)  # from 60 to 140
    np.testing.assert_allclose(all_of.mean_loss, LEVEL, atol=1e-6)
    np.testing.assert_allclose(all_of.cosine, 0.97)

  def test_aligned_curves_cross_together(self):
    curves = run(drop=(100, 200))
    series = pictures.aligned(curves, curves.solved)
    middle = np.interp(0, series.x, series.y)
    self.assertAlmostEqual(middle, plateaus.SOLVED, delta=0.05)


class ReportTest(parameterized.TestCase):
  @parameterized.parameters(
    "The loss drops",
    "within 0.05 of its closed form",
    "A partial solution",
    "repeats itself",
    "Repetition ends",
    "collapse before the drop",
    "The collapse ends",
    "ahead of accuracy",
    "ends at the optimum",
  )
  def test_claims_hold_when_the_numbers_say_so(self, part):
    self.assertTrue(verdict(found(), part))

  @parameterized.parameters(
    ("The loss drops", dict(drop=(100, 400, 400))),
    ("within 0.05 of its closed form", dict(loss=LEVEL - 0.1)),
    ("collapse before the drop", dict(cosine=0.5)),
    ("ahead of accuracy", dict(lead=-20)),
  )
  def test_claims_fail_when_the_numbers_say_so(self, part, fields):
    self.assertFalse(verdict(found(run(**fields)), part))

  def test_an_intervention_is_earlier_later_or_the_same(self):
    early, late = run(drop=(80, 92, 99)), run(drop=(220, 225, 239))
    for name, good, bad in (
      ("gain_10", early, late),
      ("gain_0.2", late, early),
    ):
      text = f"{pictures.TITLES[name]}: it drops"
      self.assertTrue(verdict(found(**{name: good}), text))
      self.assertFalse(verdict(found(**{name: bad}), text))
    self.assertTrue(verdict(found(MLP=run()), "it drops as the base"))
    self.assertFalse(verdict(found(MLP=late), "it drops as the base"))

  def test_seeds_that_never_drop_are_named_and_are_not_early(self):
    never = run(drop=(900, 900, 900))
    claims = findings.report(found(gain_10=never)).claims
    (claim,) = (c for c in claims if "it drops earlier" in c.text)
    self.assertIn("3 of 3 seeds do not drop", claim.text)
    self.assertFalse(claim.holds)

  def test_what_no_seed_shows_is_not_measured(self):
    never = found(run(drop=(900, 900, 900)))
    self.assertIsNone(verdict(never, "ahead of accuracy"))
    self.assertFalse(verdict(never, "The loss drops"))

  def test_tables_have_a_number_for_every_column(self):
    report = findings.report(found(softmax=run(), copy=run(drop=(20, 25, 30))))
    self.assertTrue(verdict(found(copy=run(drop=(20, 25, 30))), "copy: learnt"))
    (table,) = report.tables
    self.assertLen(table.rows, 3)
    for row in table.rows:
      self.assertLen(row, len(table.columns))
      self.assertNotIn("–", [reports.number(x) for x in row])
    titles = [figure.title for figure in report.figures]
    self.assertIn("Other tasks", titles)
    self.assertIn("Other ways to train", titles)
    self.assertIn("When interventions drop", titles)


if __name__ == "__main__":
  absltest.main()
