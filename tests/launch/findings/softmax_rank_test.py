"""Tests for launch/findings/softmax_rank.py and what it shows."""

from absl.testing import absltest
import numpy as np

from launch.findings import (
  softmax_rank as findings,
  softmax_rank_sweeps as seen,
)
from simplex.models import vision
from trainers import reports

TEMPERATURES = (0.1, 1.0, 10.0, 100.0, 1000.0)
RANKS = np.array([44.0, 32, 18, 9, 5])
SEEDS = 3


def arm(knob, settings, norms, ranks, **fields):
  """Networks whose three seeds agree, but for a little."""
  grid = lambda x: np.asarray(x, float)[:, None] + np.zeros(SEEDS)
  count = len(settings)
  ranks = grid(ranks)
  thresholds = np.repeat(ranks[..., None], 4, axis=-1)
  quality = np.full((count, SEEDS, len(seen.DETECTORS), 3, 3), 0.5)
  found = {
    "norm": grid(norms),
    "train": np.ones((count, SEEDS)),
    "test": np.ones((count, SEEDS)),
    "logits": thresholds,
    "layers": np.stack([2 * thresholds, thresholds], axis=2),
    "effective": ranks,
    "stable": ranks,
    "alignment": np.full((count, SEEDS, 2), 0.5),
    "probes": np.full((count, SEEDS, 2), 0.5),
    "collapse": np.zeros((count, SEEDS, 5)),
    "ood": quality,
  }
  network = vision.Config(knob if knob in vision.MODELS else "mlp")
  return seen.Arm(knob, network, settings, {**found, **fields})


def found(scale_ranks=(7.0, 25.0), ranks=RANKS, equivalence=1e-15):
  plain = [(t, 1.0) for t in TEMPERATURES]
  norms = 10.0 / np.array(TEMPERATURES)
  scaled = [(1.0, 0.5), (1.0, 0.7)]
  middle = [10**-1.5, 10**0.5]
  probes = np.linspace(0.9, 0.7, 5)[:, None, None] + np.zeros((5, SEEDS, 2))
  quality = np.full((5, SEEDS, len(seen.DETECTORS), 3, 3), 0.5)
  quality[2] += 0.2
  scales = np.logspace(-3, 3, 5)
  humps = np.array([1.0, 5, 20, 9, 9]) + np.zeros((SEEDS, 1))
  return seen.Found(
    classes=50,
    thresholds=(1e-2, 1e-3, 1e-4, 1e-5),
    arms=[
      arm("temperature", plain, norms, ranks),
      arm("initial scale", scaled, middle, scale_ranks),
      arm("width", scaled[:1], [1.0], [60.0]),
    ],
    images=[
      arm("mlp", plain, norms, RANKS, probes=probes, ood=quality),
      arm("vit", plain[1:3], [10, 1], [9.0, 9.0]),
    ],
    image_classes=7,
    equivalence={"SGD": equivalence},
    softmax=seen.Softmax(scales, 1.0, 2.0, humps[0], {2: humps}),
  )


def verdicts(found, parts):
  """Whether the claim with each of these parts holds; one report for all."""
  claims = findings.report(found).claims
  holds = [{c.holds for c in claims if part in c.text} for part in parts]
  return [verdict for (verdict,) in holds]


class ReportTest(absltest.TestCase):
  def test_claims_hold_when_the_numbers_say_so(self):
    parts = (
      "initial scale, SGD",
      "of rank 2: peak",
      "Rank deficit",
      "threshold 0.001",
      "whether temperature or initial scale sets it",
      "Initial scale keeps to the temperature's curve within 15 %: logits",
      "Images, MLP: the last",
      "read off the last layer worse",
      "detected better at T = 10 than at T = 0.1, NECO",
    )
    self.assertEqual(verdicts(found(), parts), [True] * len(parts))

  def test_claims_fail_when_the_numbers_say_so(self):
    bad = found(scale_ranks=(40.0, 5.0), ranks=RANKS[::-1] + 20, equivalence=1)
    parts = (
      "initial scale, SGD",
      "Rank deficit",
      "threshold 0.001",
      "whether temperature or initial scale sets it",
      "Initial scale keeps to the temperature's curve within 15 %: logits",
      "Width keeps to the temperature's curve within 15 %: logits",
      "Images, ViT: the last",
      "KNN with few",
    )
    self.assertEqual(verdicts(bad, parts), [False] * len(parts))

  def test_distance_is_from_the_curve_between_its_points(self):
    curve, scale, width = found(scale_ranks=(7.7, 25.0)).arms
    # At the middle of 5 and 9, and of 18 and 32: 7 and 25.
    off = seen.off_curve(curve, scale, "logits")
    np.testing.assert_allclose(off, 5.0 * np.ones(SEEDS), rtol=1e-6)
    off = seen.off_curve(curve, width, "logits")
    np.testing.assert_allclose(off, 100 * (60 / 18 - 1) * np.ones(SEEDS))

  def test_a_knob_is_split_off_with_its_own_settings(self):
    curve = found().arms[0]
    first, second = seen.split(curve, 2, "other")
    self.assertEqual([t for t, _ in first.settings], [0.1, 1.0])
    self.assertEqual(second.knob, "other")
    np.testing.assert_array_equal(second.seen["norm"], curve.seen["norm"][2:])

  def test_every_knob_is_in_the_figure_and_every_cell_has_a_number(self):
    shown = findings.report(found())
    curves = shown.figures[0].curves
    self.assertEqual(list(curves), ["temperature", "initial scale", "width"])
    self.assertLen(curves["temperature"].x, 5)
    for table in shown.tables:
      for row in table.rows:
        self.assertLen(row, len(table.columns))
        self.assertNotIn("–", [reports.number(x) for x in row])


if __name__ == "__main__":
  absltest.main()
