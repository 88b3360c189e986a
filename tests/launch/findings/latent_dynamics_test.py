"""Tests for launch/findings/latent_dynamics.py and its pictures."""

from absl.testing import absltest
import numpy as np

from launch.findings import (
  latent_dynamics as findings,
  latent_dynamics_pictures as pictures,
)
from launch.studies import latent_maps
from simplex.analysis.dynamics import attractors

S = 5
JITTER = np.linspace(-0.01, 0.01, S)
SCORES = ("trajectory", *findings.RIVALS)


def seeds(mean):
  return mean + JITTER


def summary(**means):
  zeros = dict.fromkeys(latent_maps.Summary._fields, 0.5)
  return latent_maps.Summary(
    **{name: seeds(x) for name, x in (zeros | means).items()}
  )


def arm(error, **means):
  return error + np.zeros((S, 3)) + JITTER[:, None], summary(**means)


def found(good=True, below=1.0):
  sign = 1 if good else -1
  grow = np.array([1.0, 2.0, 3.0]) if good else np.array([3.0, 2.0, 1.0])
  rows = grow + JITTER[:, None] * np.array([0, 1, 2])
  wide = {"nearest": 0.97 - 0.1 * sign, "entropy": sign, "euclid": 9 * sign}
  noisy = wide | {"radius": 0.5 - 0.1 * sign, "norm": 0.5 - 0.1 * sign}
  noisy["euclid"] = 0
  auroc = lambda mean: mean + np.zeros((S, 2, 3)) + JITTER[:, None, None]
  return pictures.Found(
    images="digits",
    steps=np.arange(3),
    noise=0.3,
    starts=10,
    limits=latent_maps.Limits(1e-4, 100, 0.01),
    arms={
      (2, 0.0): arm(2.0, nearest=0.97, null=0.96, entropy=0, euclid=0),
      (2, 0.3): arm(2.0),
      (8, 0.0): arm(2.0 - sign, **wide),
      (8, 0.3): arm(1.0, **noisy),
    },
    few={20: arm(2.0, centred=sign), 100: arm(1.0, centred=0.0)},
    grown=(
      rows,
      latent_maps.Grown(rows, rows, rows, rows, 1 - 0.1 * sign + 0 * rows),
    ),
    rates=latent_maps.Rate(
      seeds(0.8), seeds(0.6 if good else 0.9), np.full(S, below)
    ),
    detection={
      0.0: (
        ["a", "b"],
        {n: auroc(0.5 + 0.1 * sign * (n == "trajectory")) for n in SCORES},
      )
    },
    sparsities=(1, 2),
    pursuits={
      "orthonormal": np.ones((S, 2)),
      "random, as many": np.ones((S, 2)),
      "attractors": np.ones((S, 2)) - 0.1 * sign + JITTER[:, None],
    },
    plane=latent_maps.Plane(
      np.arange(3.0),
      np.arange(3.0),
      np.zeros((3, 3), int),
      np.ones((3, 3, 2)),
      np.ones((1, 2)),
      np.ones((4, 2)),
      "1 attractors",
      attractors.Uncertainty(np.ones(2), np.ones(2), 0.5),
    ),
  )


class ReportTest(absltest.TestCase):
  def verdicts(self, part, **kwargs):
    claims = findings.all_claims(found(**kwargs))
    matching = [c.holds for c in claims if part in c.text]
    self.assertNotEmpty(matching)
    return set(matching)

  def test_claims_follow_the_numbers(self):
    for part in (
      "wider bottleneck memorises less",
      "wider bottleneck generalises",
      "Attractors span more",
      "wider bottleneck has more",
      "20 training images",
      "Training with noise contracts",
      "untrained autoencoder contracts",
      "grows through training",
      "part from those of data",
      "predicts better than the norm",
      "explain codes better",
      "Trajectories tell",
    ):
      self.assertEqual(self.verdicts(part), {True}, part)
      self.assertEqual(self.verdicts(part, good=False), {False}, part)

  def test_both_readings_of_memorisation_are_judged(self):
    self.assertEqual(self.verdicts("by the paper's words"), {True})
    self.assertEqual(self.verdicts("by the paper's formula, the min"), {False})

  def test_a_rate_that_is_mostly_undefined_does_not_hold(self):
    part = "spectral norm, the paper's formula"
    self.assertEqual(self.verdicts(part), {True})
    self.assertEqual(self.verdicts(part, below=0.2), {False})

  def test_what_was_not_found_is_not_measured(self):
    bad = found()
    bad = bad._replace(rates=bad.rates._replace(radius=np.full(S, np.nan)))
    claims = {c.text: c.holds for c in findings.all_claims(bad)}
    (holds,) = (h for t, h in claims.items() if "the spectral radius" in t)
    self.assertIsNone(holds)

  def test_figures_are_drawn_and_counts_say_what_they_depend_on(self):
    report = findings.report(found())
    for words in ("10 starts", "tolerance 0.0001", "budget of 100", "0.01"):
      self.assertIn(words, report.summary)
      self.assertIn(words, report.tables[0].caption)
    titles = [f.title for f in report.figures]
    self.assertIn("Basins of a latent space of two dimensions", titles)
    self.assertIn("Codes as sums of few atoms", titles)
    self.assertLen(set(titles), len(titles))


if __name__ == "__main__":
  absltest.main()
