"""Figures and tables of SingLoRA's report."""

import numpy as np

from launch.findings import singlora_runs as seen
from launch.studies import adapter_toys as toys, tuned_models
from trainers import figures
from trainers.figures import Series
from trainers.intervals import interval
from trainers.reports import Figure, Table

SHARES = {
  "lora": "LoRA, equal parameters",
  "singlora": "SingLoRA",
  "lora_rank": "LoRA, equal rank",
}


def tuning_figures(found: seen.Found) -> list[Figure]:
  """What is saved at the chosen rate, and test bits at every rate."""
  chosen = {
    arm: interval(found.untuned - seen.chosen_bits(found, arm))
    for arm in found.tuned
  }
  names = [_described(arm, found.tuned[arm]) for arm in chosen]
  end = lambda field: [getattr(x, field) for x in chosen.values()]
  rates = np.asarray(found.rates)
  return [
    figures.bars(
      "What tuning saves",
      names,
      {"saved": end("mean")},
      errors={"saved": (end("low"), end("high"))},
      value_label=f"{found.unit} of {found.corpus}, fewer than before",
      caption="At each arm's best learning rate on validation text; in "
      "brackets, what is trained.",
    ),
    figures.lines(
      "Learning rates",
      {
        seen.NAMES[arm]: Series(
          rates, *interval(seen.bounded(found, runs.test).T)
        )
        for arm, runs in found.tuned.items()
      },
      xlabel="learning rate",
      ylabel=f"{found.unit} of {found.corpus}",
      log_x=True,
      references={"not tuned": found.untuned},
      caption=f"After {found.steps} steps; mean and 95 % interval over seeds. "
      "Figure 2 of the paper shows a factor of 2.",
    ),
  ]


def _described(arm: str, runs: tuned_models.Runs) -> str:
  return f"{seen.NAMES[arm]} ({runs.parameters / 1000:.1f}k)"


def attention_figure(found: seen.Found) -> Figure:
  """Losses on a logarithmic axis, with intervals of their logarithms."""
  series = {}
  for arm, losses in found.attention.items():
    logs = interval(np.log10(losses))
    series[SHARES[arm]] = Series(found.attention_steps, *(10**x for x in logs))
  return figures.lines(
    "The attention toy of Figure 1",
    series,
    xlabel="steps",
    ylabel="mean squared error",
    log_y=True,
    caption="Two frozen kernels, whose product's scores are fitted to noise. "
    "The third curve is a control that the paper lacks: LoRA at SingLoRA's "
    "rank, with twice its parameters.",
  )


def width_figure(found: seen.Found) -> Figure:
  """Loss at the end over that at the start, by width, at the middle c."""
  cfg = found.width
  middle = len(cfg.constants) // 2
  series = {}
  for arm in ("singlora", "lora"):
    for i, exponent in enumerate(cfg.exponents):
      ends = found.widths[arm][:, i, middle].max(-1)
      # What diverged is drawn at the top of the plot.
      ends = np.where(np.isfinite(ends), np.clip(ends, 1e-16, 10), 10.0)
      series[f"{seen.NAMES[arm]}, n^{exponent:g}"] = Series(cfg.widths, ends)
  return figures.lines(
    "The toy of widths",
    series,
    xlabel="width n",
    ylabel="loss over its start",
    log_x=True,
    log_y=True,
    references={"start": 1.0},
    caption=f"Learning rate {cfg.constants[middle]:g} n^p, {cfg.num_steps:,} "
    "steps, the worst of the seeds; 10 is diverged.",
  )


def share_figures(found: seen.Found) -> list[Figure]:
  """What one factor and two can make of changes of square kernels."""
  made = [
    _shares(
      found,
      "Reach on random changes",
      found.gaussian,
      "Gaussian square changes. A A^T has no part that is antisymmetric or "
      "negative.",
    )
  ]
  if found.real is not None:
    caption = (
      "Changes of the square kernels when all parameters are tuned; mean over "
      "kernels."
    )
    title = "Reach on the changes of full fine-tuning"
    made.append(_shares(found, title, found.real, caption))
  return made


def _shares(found, title, shares, caption):
  return figures.lines(
    title,
    {
      label: Series(found.ranks, *interval(100 * shares[name].T))
      for name, label in SHARES.items()
    },
    xlabel="rank of SingLoRA",
    ylabel="% of squared norm in reach",
    log_x=True,
    caption=caption,
  )


def tuning_table(found: seen.Found) -> Table:
  rows = []
  for arm, runs in found.tuned.items():
    x, spread = (
      interval(seen.chosen_bits(found, arm)),
      interval(seen.spread(found, arm)),
    )
    best = tuned_models.best(runs)
    rank = "–" if arm == "full" else runs.rank
    rows.append(
      (
        seen.NAMES[arm],
        runs.parameters,
        rank,
        found.rates[best],
        float(seen.bounded(found, runs.validation)[best].mean()),
        x.mean,
        x.low,
        x.high,
        spread.mean,
      )
    )
  return Table(
    f"Tuning to {found.corpus}",
    (
      "arm",
      "parameters",
      "rank",
      "rate",
      "validation",
      "test",
      "low",
      "high",
      "spread",
    ),
    rows,
    caption=f"In {found.unit}; {found.untuned:.3f} before tuning. Spread is "
    "the worst less the best over all rates.",
  )


def width_table(found: seen.Found) -> Table:
  cfg, rows = found.width, []
  for arm in ("singlora", "lora"):
    for exponent in cfg.exponents:
      shares = seen.converging(found, arm, exponent)
      for c, share in zip(cfg.constants, shares.T, strict=True):
        name = f"{seen.NAMES[arm]}, {c:g} n^{exponent:g}"
        rows.append((name, *(100 * share)))
  return Table(
    "Runs of the toy of widths that converge",
    ("rate", *(f"n = {n:,}" for n in cfg.widths)),
    rows,
    caption="Per cent of the seeds whose loss falls below "
    f"{cfg.converged:g} of its start in {cfg.num_steps:,} steps.",
  )


def invariance_table(found: seen.Found) -> Table:
  return Table(
    "Training from A and from A Q",
    ("optimiser", "square", "not square"),
    [
      (name, *(float(x) for x in found.invariance[name].max(-1)))
      for name in toys.OPTIMIZERS
    ],
    caption="Relative difference of the changes after the steps, the worst of "
    "the seeds, float64. row_adam shares Adam's second moment along the rank.",
  )
