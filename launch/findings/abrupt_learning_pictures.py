"""Figures of abrupt learning."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from launch.findings import abrupt_learning_runs as plateaus
from launch.findings.abrupt_learning_runs import Run
from simplex.analysis import plateau
from trainers import figures
from trainers.figures import Series
from trainers.intervals import Interval, interval
from trainers.reports import Figure

TITLES = {
  "base": "base",
  "gain_10": "attention x 10 at its optimum",
  "gain_0.2": "attention x 0.2 at its optimum",
  "KQ": "optimal keys and queries",
  "KQOV": "optimal attention",
  "MLP": "optimal feed-forward and output",
  "Emb": "optimal embeddings and output",
  "softmax": "softmax attention",
  "answers": "loss of the answers alone",
  "init_4": "initial weights x 4",
  "muon": "Muon",
  "sgd": "SGD with momentum",
  "window_3": "moving sum, k = 3",
  "prefix": "prefix sum",
  "addition": "addition",
  "permutation": "permutation",
  "histogram": "histogram",
  "copy": "copy",
  "reverse": "reverse",
  "repeat": "repeat the first",
}

# Interventions on attention, and those that freeze parts of the model.
PARTS = ("gain_10", "gain_0.2", "KQ", "KQOV", "MLP", "Emb")
AFTER = 10  # tests after a drop that are drawn


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    length: n of the moving sums.
    window: k.
    modulus: p.
    runs: name to run; "base" is there, interventions and tasks may be.
    interventions: the names that share their task with the base.
  """

  length: int
  window: int
  modulus: int
  runs: Mapping[str, Run]
  interventions: tuple[str, ...]


def _series(run: Run, curves) -> Series:
  return Series(run.steps, *interval(curves))


def loss(found: Found) -> Figure:
  run = found.runs["base"]
  levels = plateau.moving_sum_levels(found.length, found.window, found.modulus)
  return figures.lines(
    "Loss",
    {
      "answers": _series(run, run.answer_loss),
      "all tokens": _series(run, run.loss),
    },
    xlabel="steps",
    ylabel="nats, unseen examples",
    references={
      f"answers, at rest {levels.answers:.3f}": levels.answers,
      f"all, at rest {levels.total:.3f}": levels.total,
      f"all, solved {levels.floor:.3f}": levels.floor,
    },
    caption="Mean over seeds and its 95 % interval. Dashed, in closed form: "
    "answers and all tokens while only copies are known, and all tokens when "
    "all is known. Seeds drop at different steps, which rounds the mean.",
  )


def aligned(run: Run, curves: np.ndarray) -> Series:
  """Mean over seeds of curves against the time since each one's drop.

  Of the seeds that drop `AFTER` tests or more before the end.
  """
  at, seeds, every = _early(run)
  back = int(np.min(at[seeds]) // every)
  x = every * np.arange(-back, AFTER + 1)
  shifted = [np.interp(x + at[i], run.steps, curves[i]) for i in seeds]
  return Series(x, *interval(shifted))


def _early(run: Run):
  """Drops of all seeds, which of them have tests after it, and their step."""
  at, every = plateaus.drops(run), run.steps[1] - run.steps[0]
  return at, np.flatnonzero(at <= run.steps[-1] - AFTER * every), every


def inside(run: Run) -> Figure:
  curves = {
    "accuracy": run.solved,
    "attention progress": run.progress,
    "cosine": run.cosine,
    "repetition": run.repetition,
  }
  _, seeds, _ = _early(run)
  draw = aligned if len(seeds) > 1 else _series
  return figures.lines(
    "What happens around the drop",
    {name: draw(run, values) for name, values in curves.items()},
    xlabel="steps since each seed's drop" if len(seeds) > 1 else "steps",
    ylabel="share, or cosine",
    references={"repetition of true answers": run.true_repetition.mean()},
    caption="Each seed's curves are shifted by the step at which it answers "
    "half of all; mean and 95 % interval over the seeds that get there early "
    "enough to be seen afterwards.",
  )


def drop(run: Run) -> Figure:
  at = np.sort(plateaus.finite(plateaus.drops(run)))
  share = np.arange(1, len(at) + 1) / len(run.loss)
  lead = np.sort(plateaus.finite(plateaus.leads(run)))
  series = {
    "drop": Series(at, share),
    "lead of attention": Series(lead, np.arange(1, len(lead) + 1) / len(lead)),
  }
  empty = {"no seed drops": Series(run.steps, np.zeros(len(run.steps)))}
  return figures.lines(
    "When the loss drops",
    series if len(at) else empty,
    xlabel="steps",
    ylabel="share of seeds",
    points=tuple(series),
    caption="The steps at which seeds answer half of all, and by how many "
    "steps attention is ahead, each in ascending order.",
  )


def interventions(found: Found) -> list[Figure]:
  if not found.interventions:
    return []
  parts = [name for name in found.interventions if name in PARTS]
  other = [name for name in found.interventions if name not in PARTS]
  groups = {"Interventions on attention and parts": parts}
  groups["Other ways to train"] = other
  return [
    _when(found, ("base", *found.interventions)),
    *(
      _accuracy(title, found, ("base", *names))
      for title, names in groups.items()
      if names
    ),
  ]


def _when(found: Found, names: Sequence[str]) -> Figure:
  """Steps of the drops; NaN, which draws nothing, where no seed has one."""
  nothing = Interval(np.nan, np.nan, np.nan)
  at = [plateaus.finite(plateaus.drops(found.runs[name])) for name in names]
  mean, low, high = np.transpose(
    [interval(x) if len(x) else nothing for x in at]
  )
  counts = [
    f"{len(x)} of {len(found.runs[n].loss)}"
    for n, x in zip(names, at, strict=True)
  ]
  groups = [f"{TITLES[n]} ({c})" for n, c in zip(names, counts, strict=True)]
  return figures.bars(
    "When interventions drop",
    groups,
    {"drop": mean},
    errors={"drop": (low, high)},
    value_label="steps until half of the answers are right",
    caption="Mean and 95 % interval over the seeds that get there; in "
    "brackets, how many do in the steps that they were given.",
  )


def tasks(found: Found) -> list[Figure]:
  own = ("base", *found.interventions)
  names = [name for name in found.runs if name not in own]
  return [_accuracy("Other tasks", found, names)] if names else []


def _accuracy(title: str, found: Found, names: Sequence[str]) -> Figure:
  runs = {TITLES[name]: found.runs[name] for name in names}
  return figures.lines(
    title,
    {n: Series(run.steps, run.solved.mean(0)) for n, run in runs.items()},
    xlabel="steps",
    ylabel="accuracy of the answers",
    caption="Mean over seeds.",
  )
