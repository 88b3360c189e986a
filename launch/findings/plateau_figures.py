"""Figures of abrupt learning."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from launch.findings import plateaus
from launch.findings.plateaus import Run
from simplex.analysis import plateau
from trainers import figures
from trainers.figures import Series
from trainers.intervals import interval
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
      f"{levels.answers:.3f}": levels.answers,
      f"{levels.total:.3f}": levels.total,
      f"{levels.floor:.3f}": levels.floor,
    },
    caption="Mean over seeds and its 95 % interval. Dashed, in closed form: "
    "answers and all tokens while only copies are known, and all tokens when "
    "all is known. Seeds drop at different steps, which rounds the mean.",
  )


def aligned(run: Run, curves: np.ndarray) -> Series:
  """Mean over seeds of curves against the time since each one's drop."""
  at = plateaus.drops(run)
  seeds = np.flatnonzero(np.isfinite(at))
  every = run.steps[1] - run.steps[0]
  back = -every * int(np.min(at[seeds]) // every)
  ahead = every * int((run.steps[-1] - np.max(at[seeds])) // every)
  x = np.arange(back, ahead + every, every)
  shifted = [np.interp(x + at[i], run.steps, curves[i]) for i in seeds]
  return Series(x, *interval(shifted))


def inside(run: Run) -> Figure:
  curves = {
    "accuracy": run.solved,
    "attention progress": run.progress,
    "cosine": run.cosine,
    "repetition": run.repetition,
  }
  enough = np.isfinite(plateaus.drops(run)).sum() > 1
  draw = aligned if enough else _series
  return figures.lines(
    "What happens around the drop",
    {name: draw(run, values) for name, values in curves.items()},
    xlabel="steps since each seed's drop" if enough else "steps",
    ylabel="share, or cosine",
    references={"repetition of true answers": run.true_repetition.mean()},
    caption="Each seed's curves are shifted by the step at which it answers "
    "half of all; mean and 95 % interval over the seeds that get there.",
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
  return [_accuracy("Interventions", found, ("base", *found.interventions))]


def tasks(found: Found) -> list[Figure]:
  own = ("base", *found.interventions)
  names = [name for name in found.runs if name not in own]
  return [_accuracy("Other tasks", found, names)] if names else []


def _accuracy(title: str, found: Found, names: Sequence[str]) -> Figure:
  runs = {TITLES[name]: found.runs[name] for name in names}
  return figures.lines(
    title,
    {name: _series(run, run.solved) for name, run in runs.items()},
    xlabel="steps",
    ylabel="accuracy of the answers",
    caption="Mean and 95 % interval over seeds.",
  )
