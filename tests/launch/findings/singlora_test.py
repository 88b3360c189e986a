"""Tests for launch/findings/singlora.py."""

from absl.testing import absltest
import numpy as np

from launch.findings import singlora as findings, singlora_runs as seen
from launch.studies import adapter_toys as toys, tuned_models
from trainers import reports

RATES = (0.01, 0.1)
RANKS = (2, 4)
SPREAD = np.array([-0.01, 0.0, 0.01])
WIDTH = toys.Width(widths=(4, 8), constants=(0.1, 0.3))


def runs(best, worst=4.0, parameters=96):
  bits = np.array([[worst], [best]]) + SPREAD
  return tuned_models.Runs(parameters, 4, bits, bits)


def curve(last):
  return np.stack([np.ones(3), last * (1 + SPREAD), np.ones(3)], axis=1)


def found(sing=2.9, worst=3.5, loss=1e-6, diverges=np.inf, adamw=0.5):
  tuned = {arm: runs(3.0) for arm in tuned_models.ARMS}
  tuned["singlora"] = runs(sing, worst)
  ends = np.full((2, 2, 2, 3), 1e-9)
  ends[:, 0] = diverges
  shares = {
    "lora": np.full((2, 3), 0.3),
    "singlora": np.full((2, 3), 0.2),
    "lora_rank": np.full((2, 3), 1.0),
  }
  apart = dict.fromkeys(toys.OPTIMIZERS, np.full((2, 3), 1e-15))
  return seen.Found(
    first="pre-trained here on prose",
    corpus="code",
    unit="bits/byte",
    vocab_size=256,
    steps=100,
    rates=RATES,
    untuned=3.4,
    tuned=tuned,
    attention_steps=np.array([0, 10, 20]),
    attention={
      "lora": curve(1e-1),
      "singlora": curve(loss),
      "lora_rank": curve(1e-8),
    },
    width=WIDTH,
    widths={
      "lora": ends,
      "singlora": ends,
      "opposed": np.full((2, 2, 3), 0.26),
    },
    invariance=apart | {"AdamW": np.full((2, 3), adamw)},
    ranks=RANKS,
    gaussian=shares,
    real=shares,
    norms={"n": 0.3 + SPREAD, "r": 30 + SPREAD},
    counts={"LLaMA-7B": (19_988_480, 12_648_448), "GPT-2": (1179648, 884736)},
  )


def verdict(found, part):
  (claim,) = (c for c in findings.all_claims(found) if part in c.text)
  return claim.holds


class ReportTest(absltest.TestCase):
  def test_a_difference_holds_by_its_interval_over_seeds(self):
    for arm in ("LoRA:", "DoRA:", "LoRA+:"):
      self.assertTrue(verdict(found(), f"fewer bits than {arm}"))
      self.assertFalse(verdict(found(sing=3.1), f"fewer bits than {arm}"))
    self.assertTrue(verdict(found(), "At equal rank"))  # equal, here

  def test_the_spread_over_rates_is_compared(self):
    self.assertTrue(verdict(found(worst=3.5), "depends less"))
    self.assertFalse(verdict(found(worst=4.5), "depends less"))

  def test_runs_that_failed_cost_a_uniform_guess(self):
    bits = np.array([[np.nan, 20.0], [3.0, 3.0]])
    failed = tuned_models.Runs(1, 1, bits, bits)
    some = found()._replace(tuned={"lora": failed})
    np.testing.assert_array_equal(seen.spread(some, "lora"), [5, 5])
    np.testing.assert_array_equal(seen.chosen_bits(some, "lora"), [3, 3])

  def test_figure_1_is_judged_by_decades_and_by_the_control(self):
    self.assertTrue(verdict(found(), "factor of 10^3"))
    self.assertFalse(verdict(found(loss=1e-3), "factor of 10^3"))
    self.assertFalse(verdict(found(), "Figure 1 with a control"))
    self.assertTrue(verdict(found(loss=1e-9), "Figure 1 with a control"))

  def test_one_constant_must_do_for_every_width(self):
    part = "SingLoRA's toy of widths, learning rate c n^"
    self.assertFalse(verdict(found(), f"{part}-0.5"))
    self.assertTrue(verdict(found(), f"{part}-1"))
    self.assertTrue(verdict(found(diverges=1e-9), f"{part}-0.5"))
    self.assertFalse(
      verdict(found(), "LoRA's toy of widths, learning rate c n^-1: no")
    )

  def test_what_theory_says_of_optimisers_is_checked(self):
    self.assertTrue(verdict(found(), "row_adam, largest"))
    self.assertFalse(verdict(found(), "AdamW, largest"))
    self.assertTrue(verdict(found(adamw=1e-14), "AdamW, largest"))

  def test_limits_and_starts(self):
    self.assertTrue(verdict(found(), "out of reach"))
    self.assertFalse(verdict(found(), "any change of a square kernel"))
    self.assertTrue(verdict(found(), "starts by its long side"))
    self.assertFalse(verdict(found(), "starts by its rank"))

  def test_counts_are_judged_by_what_was_printed(self):
    self.assertTrue(verdict(found(), "LLaMA-7B, rank 8: LoRA"))
    self.assertTrue(verdict(found(), "LLaMA-7B, rank 8: SingLoRA"))
    self.assertTrue(verdict(found(), "GPT-2, rank 8: SingLoRA"))
    self.assertFalse(verdict(found(), "GPT-2, rank 8: LoRA"))

  def test_arms_that_were_left_out_are_not_spoken_of(self):
    some = found()._replace(tuned={"lora": runs(3.0)}, real=None)
    report = findings.report(some)
    self.assertEmpty([c for c in report.claims if "bits" in c.text])
    self.assertNotIn("full fine-tuning", str([f.title for f in report.figures]))

  def test_bars_are_what_tuning_saves(self):
    figure = findings.report(found()).figures[0]
    np.testing.assert_allclose(figure.curves["saved"].y[0], 3.4 - 3.0)

  def test_tables_have_a_number_for_every_column(self):
    for table in findings.report(found()).tables:
      for row in table.rows:
        self.assertLen(row, len(table.columns))
        if "parameters" not in str(row[0]):
          self.assertNotIn("–", [reports.number(x) for x in row])


if __name__ == "__main__":
  absltest.main()
