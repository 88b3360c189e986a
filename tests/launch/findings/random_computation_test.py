"""Tests for launch/findings/random_computation.py."""

from absl.testing import absltest
import numpy as np

from launch.findings import random_computation as findings

N, T = 20, 6
SYNTHETIC = ("dyck", "bits", "rep3")
REAL = ("prose", "code")


def bits(mean):
  noise = np.random.default_rng(0).normal(size=(N, T))
  return mean + 0.1 * noise


def found(pretrained=3.0, tuned=4.0, uniform=8.0):
  names = (*REAL, *SYNTHETIC)
  level = lambda mean: {name: bits(mean) for name in names}
  orders = np.stack([bits(3.5), bits(2.0)])
  steps = np.array([0, 10, 20])
  seeds = np.array([[0.0], [0.01], [-0.01]])
  return findings.Found(
    parameters=1000,
    tokens_per_step=64,
    steps=10,
    tail=3,
    synthetic=SYNTHETIC,
    bits={
      "pretrained": level(pretrained),
      "official": level(5.0),
      "uniform": level(uniform),
      "untrained": level(8.1),
    },
    markov={name: findings.Markov(orders, orders + 1) for name in names},
    watched={"prose": (steps, np.array([8.0, 6.0, 4.0]))},
    tuned={
      "prose": {
        "pretrained": (steps, np.array([6.0, tuned, 3.0]) + seeds),
        "fresh": (steps, np.array([8.0, 6.0, 4.0]) + 2 * seeds),
      }
    },
    widths={16: (1000, {"prose": 4.0}), 32: (4000, {"prose": 3.0})},
    samples=np.zeros((8, 4, T + 1), np.int32),
  )


def verdicts(found):
  return {c.text: c.holds for c in findings.report(found).claims}


class ReportTest(absltest.TestCase):
  def verdict(self, found, part):
    (holds,) = {
      holds for text, holds in verdicts(found).items() if part in text
    }
    return holds

  def test_claims_hold_when_the_numbers_say_so(self):
    self.assertTrue(self.verdict(found(), "every synthetic set better"))
    self.assertTrue(self.verdict(found(), "over the untrained"))
    self.assertTrue(self.verdict(found(), "real data better"))
    self.assertTrue(self.verdict(found(), "leads pre-training on 'official'"))
    self.assertTrue(self.verdict(found(), "The null"))
    self.assertTrue(self.verdict(found(), "ahead of a fresh start at equal"))

  def test_claims_fail_when_the_numbers_say_so(self):
    bad = found(pretrained=8.2, tuned=9.0, uniform=7.0)
    self.assertFalse(self.verdict(bad, "every synthetic set better"))
    self.assertFalse(self.verdict(bad, "over the untrained"))
    self.assertFalse(self.verdict(bad, "real data better"))
    self.assertFalse(self.verdict(bad, "leads pre-training on 'official'"))
    self.assertFalse(self.verdict(bad, "The null"))
    self.assertFalse(self.verdict(bad, "ahead of a fresh start at equal"))

  def test_a_markov_model_that_is_better_is_reported_as_better(self):
    self.assertFalse(self.verdict(found(), "best in-context Markov"))
    self.assertTrue(self.verdict(found(pretrained=1.0), "best in-context"))

  def test_the_best_order_is_chosen_by_its_bits(self):
    (table, _) = findings.report(found()).tables
    self.assertEqual(table.columns[-2], "its order")
    self.assertEqual({row[-2] for row in table.rows}, {1})

  def test_steps_saved_are_counted_to_the_last_loss_of_the_fresh_start(self):
    (claim,) = (c for c in findings.report(found()).claims if c.unit == "steps")
    self.assertAlmostEqual(claim.ours, 10.0, delta=0.5)


if __name__ == "__main__":
  absltest.main()
