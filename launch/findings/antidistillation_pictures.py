"""Figures and tables of antidistillation sampling."""

import itertools

import numpy as np

from launch.findings import antidistillation_runs as runs
from simplex.sampling import fingerprint
from trainers import figures
from trainers.figures import Series
from trainers.intervals import Interval, interval
from trainers.reports import Figure, Table


def curves(found: runs.Found, r: int, kind: str) -> Figure:
  """The student's accuracy against the teacher's, raw or forced."""
  series = {}
  for arm in runs.curves(found):
    teacher, student = runs.curve(found, arm, r, kind)
    x, y = teacher.mean(0), interval(student)
    order = np.argsort(x)
    series[runs.ARMS[arm]] = Series(x[order], *(end[order] for end in _ends(y)))
  return figures.lines(
    f"Teacher and student, {runs.KINDS[kind]}: {found.regimes[r]}",
    series,
    xlabel=f"accuracy of the teacher's traces, % ({runs.KINDS[kind]})",
    ylabel="accuracy of the student, %",
    references={"not distilled": float(runs.before(found, r, kind).mean())},
    caption="Each point is a strength of the penalty, or a temperature. Right "
    "and low is what a teacher wants. Means and 95 % intervals over seeds.",
  )


def _ends(x: Interval) -> tuple:
  """Mean and ends, within what an accuracy can be."""
  return x.mean, np.clip(x.low, 0, 100), np.clip(x.high, 0, 100)


def epsilons(found: runs.Found) -> Figure:
  """Errors of finite differences."""
  return figures.lines(
    "The step of a finite difference",
    {
      dtype: Series(
        found.epsilons, errors.mean(0), errors.min(0), errors.max(0)
      )
      for dtype, errors in found.differences.items()
    },
    xlabel="step along a direction of length 1",
    ylabel="|sin| of the angle to the exact derivative",
    log_x=True,
    log_y=True,
    caption="The paper's Fig. 7, for weights and activations of two dtypes: "
    "rounding on the left, curvature on the right. Mean, least and largest "
    "over proxies.",
  )


def losses(found: runs.Found) -> Figure:
  """Of training, and of clean held-out traces meanwhile."""
  cell = runs.strongest(found)
  shown = {"poisoned": ("antidistillation", cell), "clean": ("temperature", 0)}
  kinds = {"training": "losses", "held out": "held_out"}
  series = {}
  for (traces, (arm, at)), (kind, what) in itertools.product(
    shown.items(), kinds.items()
  ):
    values = getattr(found.results[arm], what)[0, :, at]
    x = np.arange(1, values.shape[1] + 1)
    if what == "held_out":
      x = np.array(found.evaluations)
    else:
      x, values = _thinned(x, values)
    series[f"{traces}, {kind}"] = Series(x, *interval(values))
  nats = found.cells["antidistillation"][cell]["nats"]
  return figures.lines(
    "Training on poisoned traces",
    series,
    xlabel="steps of the student",
    ylabel="nats per token",
    log_y=True,
    caption=f"The paper's Fig. 5, with a penalty of {nats:g} nats: held-out "
    "traces are clean. Training losses are means of ten steps.",
  )


def _thinned(x, values, every=10):
  """Means of groups of steps."""
  count = max(len(x) // every, 1)
  parts = np.array_split(np.arange(len(x)), count)
  means = np.stack([values[:, p].mean(1) for p in parts], axis=1)
  return np.array([x[p].mean() for p in parts]), means


def at_equal_teachers(found: runs.Found) -> Table:
  """Students of each sampler where teachers are as good."""
  rows = []
  for r in range(len(found.regimes)):
    for kind in runs.KINDS:
      for target in found.matched:
        for arm in runs.curves(found):
          y = interval(runs.matched(found, arm, r, kind, 100 * target))
          if np.isnan(y.mean):
            continue
          base = runs.before(found, r, kind).mean()
          row = (found.regimes[r], runs.KINDS[kind], 100 * target)
          row += (runs.ARMS[arm], y.mean, y.low, y.high, base)
          rows.append(row)
  return Table(
    "Students at equal teachers",
    ("regime", "accuracy", "teacher, %", "sampler")
    + ("student, %", "low", "high", "not distilled, %"),
    rows,
    caption="Linear between the cells below; a sampler that does not reach so "
    "far is left out. Not distilled is the student before.",
  )


def every_sampler(found: runs.Found, r: int) -> Table:
  """One row for each cell."""
  rows = []
  for arm, cells in found.cells.items():
    for c, cell in enumerate(cells):
      row = [runs.ARMS[arm], runs.setting(cell)]
      for who in ("teacher", "student"):
        for kind in ("raw", "forced"):
          row.append(runs.percent(found, arm, r, who, kind)[:, c].mean())
      x = interval(runs.percent(found, arm, r, "student", "forced")[:, c])
      row.append((x.high - x.low) / 2)
      row.append(runs.percent(found, arm, r, "teacher", "steps")[:, c].mean())
      rows.append(tuple(row))
  return Table(
    f"Every sampler: {found.regimes[r]}",
    ("sampler", "setting", "teacher raw", "teacher forced", "student raw")
    + ("student forced", "±", "teacher's steps"),
    rows,
    caption="Per cent of answers, and of steps of the reasoning, that are "
    "right; means over seeds, and half the 95 % interval.",
  )


def fingerprints(found: runs.Found) -> Table:
  """p-values over seeds."""
  rows = []
  cells = [("temperature", 0)]
  cells += [("fingerprint", c) for c in range(len(found.cells["fingerprint"]))]
  for r in range(len(found.regimes)):
    for arm, c in cells:
      green_SK = found.results[arm].green[r, :, c]
      values = [fingerprint.rank_p_value(row[0], row[1:]) for row in green_SK]
      rows.append(
        (
          found.regimes[r],
          found.cells[arm][c]["green"],
          runs.percent(found, arm, r, "teacher", "forced")[:, c].mean(),
          runs.percent(found, arm, r, "student", "forced")[:, c].mean(),
          100 * green_SK[:, 0].mean(),
          100 * green_SK[:, 1:].mean(),
          float(np.median(values)),
          float(np.max(values)),
        )
      )
  return Table(
    "Fingerprints",
    ("regime", "weight", "teacher, %", "student, %", "green, %")
    + ("other keys, %", "median p", "largest p"),
    rows,
    caption="Antidistillation fingerprinting (arXiv 2602.03812): the share of "
    "green tokens that the distilled student writes at temperature 1, by the "
    "secret key and by keys that were not used, and how likely it is to be "
    "that large by chance, over seeds.",
  )


def traces(found: runs.Found) -> Table:
  """Samples of what a student learns from."""
  rows = []
  for r in range(len(found.regimes)):
    for arm, c in (
      ("temperature", 0),
      ("antidistillation", runs.strongest(found)),
    ):
      texts = found.results[arm].traces[r, 0, c]
      setting = runs.setting(found.cells[arm][c])
      text = "   ".join(map(found.read, texts))
      rows.append((f"{found.regimes[r]}, {setting}", text))
  return Table(
    "Traces",
    ("sampler", "the first completions of the first seed"),
    rows,
    monospace=True,
  )
