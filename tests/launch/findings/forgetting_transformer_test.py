"""Tests for launch/findings/forgetting_transformer.py."""

from absl.testing import absltest
import numpy as np

from launch.findings import forgetting_transformer as findings
from launch.studies import forget_gates

CONTEXT, LENGTH = 8, 64


def arm(bits, late=0.0, seeds=3):
  """Bits at all positions, and more beyond those of training."""
  curve = np.full((seeds, LENGTH), float(bits))
  curve[:, CONTEXT:] += late
  noise = 1e-3 * np.arange(seeds)
  return findings.Arm(1000, curve + noise[:, None], bits + noise)


def pruned(skipped, lost):
  shape = (3, len(forget_gates.LOG_EPSILON))
  return findings.Pruned(
    LENGTH,
    4,
    forget_gates.LOG_EPSILON,
    np.full(shape, skipped),
    np.full(shape, lost),
    np.full(3, skipped),
  )


def found(**changes):
  arms = {
    "fox_pro": arm(2.0),
    "fox": arm(2.1),
    "rope": arm(2.2, late=1.0),
    "no_shift": arm(2.05),
  }
  faded = np.tril(np.ones((4, 4)))
  fields = {
    "arms": arms | changes.get("arms", {}),
    "gates": {"fox": np.full((3, 2, 2), 0.4)},
    "passage": findings.Passage("a b\n", {"a head": (faded, faded / 4)}),
    "pruned": {"fox": changes.get("pruned", pruned(0.7, 1e-6))},
  }
  return findings.Found(corpus="prose", context=CONTEXT, steps=10, **fields)


def verdict(found, *parts):
  claims = findings.report(found).claims
  (holds,) = {c.holds for c in claims if all(part in c.text for part in parts)}
  return holds


class ReportTest(absltest.TestCase):
  def test_claims_hold_when_the_numbers_say_so(self):
    report = found()
    self.assertTrue(verdict(report, "FoX (Pro) needs fewer", "than FoX at"))
    self.assertTrue(verdict(report, "FoX needs fewer", "than RoPE at"))
    self.assertTrue(verdict(report, "FoX loses less", "8 times as long"))
    self.assertTrue(verdict(report, "RoPE loses more"))
    self.assertTrue(verdict(report, "without key-value shift"))
    self.assertTrue(verdict(report, "by the published rule"))
    self.assertTrue(verdict(report, "no row loses"))

  def test_claims_fail_when_the_numbers_say_so(self):
    report = found(
      arms={"fox": arm(2.3, late=0.1), "rope": arm(2.2)},
      pruned=pruned(0.4, 1e-4),
    )
    self.assertFalse(verdict(report, "FoX needs fewer", "than RoPE at"))
    self.assertFalse(verdict(report, "FoX loses less"))
    self.assertFalse(verdict(report, "RoPE loses more"))
    self.assertFalse(verdict(report, "by the published rule"))
    self.assertFalse(verdict(report, "no row loses"))

  def test_a_cost_within_the_noise_of_seeds_is_not_called_none(self):
    noisy = arm(2.1)
    noisy.bits[:, CONTEXT:] += np.array([[-0.3], [0.0], [0.3]])
    report = found(arms={"fox": noisy})
    self.assertFalse(verdict(report, "FoX loses less"))

  def test_losses_by_position_are_smoothed_where_they_are(self):
    figure = next(
      f for f in findings.report(found()).figures if "position" in f.title
    )
    rope = figure.curves["RoPE"]
    # A window of 33 positions reaches from the first to beyond training.
    np.testing.assert_allclose(rope.x[0], 16.5)
    np.testing.assert_allclose(rope.y[-1], 3.201, atol=1e-6)

  def test_arms_that_were_not_trained_have_no_claims(self):
    report = found()._replace(arms={"rope": arm(2.2)}, pruned={}, gates={})
    texts = [c.text for c in findings.report(report).claims]
    self.assertLen(texts, 1)
    self.assertIn("RoPE loses", texts[0])


if __name__ == "__main__":
  absltest.main()
