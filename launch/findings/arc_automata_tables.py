"""Tables of automata on ARC tasks."""

from collections.abc import Callable, Mapping

import numpy as np

from launch.studies.arc_rows import LONGER, Row
from simplex.analysis import grid_scores
from trainers.intervals import interval
from trainers.reports import Table

KINDS: Mapping[str, Mapping[str, Callable[[Row], bool]]] = {
  "largest side in training": {
    "up to 6": lambda row: row.side <= 6,
    "7 to 10": lambda row: 6 < row.side <= 10,
    "11 to 16": lambda row: 10 < row.side <= 16,
    "17 to 30": lambda row: row.side > 16,
  },
  "test grid": {
    "no larger than in training": lambda row: row.cells <= 1,
    "larger than in training": lambda row: row.cells > 1,
  },
  "cells that change": {
    "up to 10 %": lambda row: row.changed <= 0.1,
    "10 to 30 %": lambda row: 0.1 < row.changed <= 0.3,
    "more than 30 %": lambda row: row.changed > 0.3,
  },
  "training pairs": {
    "2 or fewer": lambda row: row.pairs <= 2,
    "3": lambda row: row.pairs == 3,
    "4 or more": lambda row: row.pairs > 3,
  },
}
WHY = {
  "solved": "solved",
  "seeds": "some automata solve it, the answers do not",
  "overfits": "fits its pairs, fails the test",
  "underfits": "does not fit its pairs",
}


def tables_of(found) -> list[Table]:
  """All tables of a report."""
  return [
    _arm_table(found),
    _failure_table(found),
    _kind_table(found),
    _lenient_table(found),
    _task_table(found),
    *_refused_table(found),
  ]


def _arm_table(found) -> Table:
  rows = []
  for arm in found.arms:
    exact = interval(found.per_seed(lambda x: x.exact, arm))
    fits = interval(found.per_seed(lambda x: x.fits, arm))
    voted = sum(row.arms[arm] for row in found.rows)
    first = sum(row.first == arm for row in found.rows)
    rows.append((arm, *exact, voted, fits.mean, first))
  seeds = np.array([row.seeds for row in found.rows])
  for i, name in enumerate(("one attempt", "two attempts")):
    ends = interval(seeds[..., i].sum(0))
    voted = sum(row.attempts[i] for row in found.rows)
    rows.append((f"all arms, {name}", *ends, voted, np.nan, len(found.rows)))
  return Table(
    "Tasks solved",
    (
      "who answers",
      "one automaton: mean",
      "low",
      "high",
      "vote of all seeds",
      "fits its pairs: mean",
      "believed first",
    ),
    rows,
    caption=f"Of {len(found.rows)} tasks, exactly. Automata by themselves see "
    "a grid in one view; a vote is the mean over seeds and symmetries. "
    "Attempts of a seed are votes of its own automata.",
  )


def why(row: Row) -> str:
  """A key of `WHY`."""
  if row.attempts[1]:
    return "solved"
  if any(lane.exact for lane in row.lanes):
    return "seeds"
  fits = any(lane.fits for lane in row.lanes)
  return "overfits" if fits else "underfits"


def _failure_table(found) -> Table:
  kinds = [why(row) for row in found.rows]
  cells = lambda kind: [
    np.mean([lane.cells for lane in row.lanes])
    for row in found.rows
    if why(row) == kind
  ]
  rows = [
    (
      text,
      kinds.count(kind),
      100 * kinds.count(kind) / len(kinds),
      100 * np.mean(cells(kind)) if kind in kinds else np.nan,
    )
    for kind, text in WHY.items()
  ]
  return Table(
    "How tasks end",
    ("in two attempts", "tasks", "% of tasks", "% of test cells right"),
    rows,
    caption="A task fits its pairs when some automaton does.",
  )


def _kind_table(found) -> Table:
  rows = []
  for kind, bins in KINDS.items():
    for name, inside in bins.items():
      own = [row for row in found.rows if inside(row)]
      if own:
        ends = [why(row) for row in own]
        solved = ends.count("solved")
        counts = (ends.count("overfits"), ends.count("underfits"))
        share = 100 * solved / len(own)
        rows.append((kind, name, len(own), solved, share, *counts))
  return Table(
    "Where it fails",
    ("by", "which", "tasks", "solved", "%", "overfits", "underfits"),
    rows,
    caption="In two attempts. A test grid larger than those in training gets "
    "more steps, as the square root of its cells.",
  )


def _lenient_table(found) -> Table:
  rows = []
  for arm in found.arms:
    ends = {
      "exact, every test grid": lambda x: x.exact,
      "log error at the end": lambda x: x.error <= grid_scores.LENIENT,
      "least log error of training": lambda x: (
        x.least_error <= grid_scores.LENIENT
      ),
    }
    for name, value in ends.items():
      rows.append((arm, name, *interval(found.per_seed(value, arm))))
  return Table(
    "Criteria",
    ("arm", "solved where", "tasks, mean", "low", "high"),
    rows,
    caption="The log error is of the first test grid, over cells and colours, "
    f"and solves at {grid_scores.LENIENT:.0f}. Its least looks at the test to "
    "choose when to stop; it is never used to answer.",
  )


def _task_table(found) -> Table:
  rows = []
  for row in found.rows:
    lanes = row.lanes
    right = [lane for lane in lanes if lane.exact]
    attempt = "first" if row.attempts[0] else "second"
    rows.append(
      (
        row.name,
        row.side,
        row.pairs,
        attempt if row.attempts[1] else "–",
        f"{len(right)} of {len(lanes)}",
        f"{sum(lane.fits for lane in lanes)} of {len(lanes)}",
        f"{sum(lane.stays for lane in right)} of {len(right)}"
        if right
        else "–",
        100 * np.mean([lane.cells for lane in lanes]),
        100 * row.changed,
        row.seconds,
      )
    )
  return Table(
    "Every task",
    (
      "task",
      "side",
      "pairs",
      "solved by attempt",
      "automata exact",
      "fit",
      f"stand after {LONGER}x",
      "% cells right",
      "% cells that change",
      "seconds",
    ),
    rows,
    caption="Seconds are of this machine for all automata of a task, on the "
    "average of the tasks that were trained with it.",
  )


def _refused_table(found) -> list[Table]:
  if not found.refused:
    return []
  return [
    Table(
      "Tasks that were not run",
      ("task", "why"),
      list(found.refused.items()),
      caption="They count as not solved.",
    )
  ]
