"""Tests for launch/findings/infinite_width_attention.py."""

from absl.testing import absltest
import numpy as np

from launch.findings import (
  infinite_width_attention as findings,
  infinite_width_attention_pictures as pictures,
)
from launch.studies import random_layers
from simplex.analysis import attention_moments
from trainers import reports

K, T, N = 4, 3, 400
SEEDS = np.linspace(-1, 1, K)


def law(variance=0.392, kurtosis=0.1217, score_variance=1.0):
  near = lambda x: x * (1 + 1e-3 * SEEDS)
  values = (variance, 0.25, kurtosis, score_variance)
  return pictures.Law(*map(near, values))


def distance(n, slope=-1.0, divergence=0.001):
  value = 0.6 * n**slope
  return pictures.Distances(
    law(score_variance=(1 + 2 / n) ** 2),
    value * (1 + 0.01 * SEEDS),
    value + 0.002 * (1 + 0.1 * SEEDS),
    divergence * (1 + 0.5 * SEEDS),
    np.exp(-(pictures.POINTS**2)) * (2 + SEEDS[:, None]) / 3,
  )


def layer(size=1.0):
  rng = np.random.default_rng(0)
  moments = attention_moments.Moments(
    np.broadcast_to(np.eye(T), (K, T, T)), np.zeros((K, T))
  )
  normal = lambda: rng.normal(size=(K, N)).astype(np.float32)
  kernel = np.eye(T) * (size**2 + 0.01 * SEEDS[:, None, None])
  square = rng.chisquare(64, size=(K, N)) / 64
  outputs = random_layers.Outputs(size * normal(), normal(), square, kernel)
  return pictures.Layer(
    "width 64",
    64,
    random_layers.Law(normal(), moments),
    random_layers.Law(normal(), moments),
    {"normal weights": outputs},
  )


def found(slope=-1.0, size=1.0, **kwargs):
  return pictures.Found(
    num_tokens=4,
    num_heads=2,
    num_draws=1000,
    widths={n: distance(n, slope, **kwargs) for n in (16, 64, 256, 1024)},
    floor=distance(20_000),
    heads={1: law(kurtosis=0.2433), 2: law()},
    many_heads_width=256,
    many_heads={256: law(kurtosis=0.09)},
    low_rank_width=64,
    low_rank={1: law(kurtosis=0.8), 4: law(kurtosis=0.17)},
    rectified={16: law(variance=0.26), 64: law(variance=0.2548)},
    layer=layer(size),
  )


def verdict(report, text):
  (claim,) = [c for c in report.claims if text in c.text]
  return claim


class FindingsTest(absltest.TestCase):
  def test_all_claims_hold_where_all_is_as_it_should_be(self):
    report = findings.report(found())
    failed = [c.text for c in report.claims if not c.holds]
    # The smoothed densities are at their floor: nothing falls.
    self.assertLen(failed, 1)
    self.assertIn("KL of smoothed densities", failed[0])
    slope = verdict(report, "approach the limit about as 1/n")
    self.assertAlmostEqual(slope.ours, -1.0, places=6)
    self.assertIn("n = 16, 64, 256, 1024", slope.size)

  def test_a_slope_of_one_half_does_not_hold(self):
    report = findings.report(found(slope=-0.5))
    self.assertFalse(verdict(report, "approach the limit about as 1/n").holds)

  def test_widths_at_the_floor_do_not_enter_the_slope(self):
    near = found()
    near = near._replace(floor=distance(1500))
    slope = verdict(findings.report(near), "approach the limit about as 1/n")
    self.assertTrue(slope.size.endswith("n = 16, 64, 256"), slope.size)

  def test_a_layer_of_another_size_is_seen(self):
    report = findings.report(found(size=1.3))
    self.assertFalse(verdict(report, "law: p of Kolmogorov-Smirnov").holds)
    self.assertFalse(verdict(report, "kernel over the exact law's").holds)
    self.assertFalse(verdict(report, "Wasserstein-1 to it").holds)

  def test_the_summary_and_the_pictures_can_be_made(self):
    report = findings.report(found())
    self.assertIn("does not hold", reports.summary(report))
    self.assertLen(report.figures, 3)
    self.assertIn("infinitely many heads", report.figures[0].svg)
    self.assertLen(report.tables[1].rows, 4 + 2 + 1 + 2 + 2)


if __name__ == "__main__":
  absltest.main()
