"""Tests for trainers/claims.py."""

from absl.testing import absltest

from trainers import claims, intervals


class ClaimsTest(absltest.TestCase):
  def test_a_claim_is_judged_by_its_interval(self):
    values = [1.0, 2.0, 3.0]
    claim = claims.measured(
      "is above 0", values, lambda x: x.low > 0, unit="bits", paper=1.5
    )
    ours = intervals.interval(values)
    self.assertEqual(claim.ours, 2.0)
    self.assertEqual(claim.interval, (ours.low, ours.high))
    self.assertLess(ours.low, 0)
    self.assertIs(claim.holds, False)
    self.assertEqual((claim.unit, claim.paper), ("bits", 1.5))

  def test_a_single_seed_is_judged_by_its_value(self):
    claim = claims.measured("is above 0", [2.0], lambda x: x.low > 0)
    self.assertEqual((claim.ours, claim.interval), (2.0, None))
    self.assertIs(claim.holds, True)

  def test_what_is_not_finite_was_not_measured(self):
    for values in ([], [1.0, float("nan")]):
      claim = claims.measured("is above 0", values, lambda x: x.low > 0)
      self.assertEqual((claim.ours, claim.holds), (None, None))


if __name__ == "__main__":
  absltest.main()
