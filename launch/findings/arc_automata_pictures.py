"""Figures of automata on ARC tasks."""

from collections.abc import Sequence

import numpy as np

from launch.studies.arc_rows import Row
from trainers import figures, grid_pictures
from trainers.grid_pictures import Film, Panel
from trainers.intervals import interval
from trainers.reports import Figure

MOST = 8  # tasks in a figure
FILMS = 6
SHARE = 13.4  # of the paper, per cent


def figures_of(found) -> list[Figure]:
  """All figures of a report."""
  solved = [row for row in found.rows if row.attempts[1]]
  failed = [row for row in found.rows if not row.attempts[1]]
  made = [_solved_figure(found), _growth_figure(found, solved, failed)]
  if solved:
    made.append(
      _gallery(
        found,
        "Solved",
        _spread(solved, MOST),
        "First test grids of solved tasks. Crosses are wrong cells; where all "
        "automata agree there is one attempt.",
      )
    )
  if failed:
    made.append(
      _gallery(
        found,
        "Not solved",
        _spread(failed, MOST),
        "First test grids of tasks that are not solved, from the most cells "
        "right to the fewest. Crosses are wrong cells.",
      )
    )
  return made


def _spread(rows: Sequence[Row], most: int) -> list[Row]:
  """At most so many, evenly over the share of cells that are right."""
  ordered = sorted(
    rows, key=lambda row: (-np.mean([x.cells for x in row.lanes]), row.name)
  )
  places = np.linspace(0, len(rows) - 1, min(most, len(rows)))
  return [ordered[round(place)] for place in places]


def _solved_figure(found) -> Figure:
  count = len(found.rows) / 100
  names, means, lows, highs = [], [], [], []

  def add(name, values):
    ends = interval(np.asarray(values, float) / count)
    names.append(name)
    for end, kept in zip(ends, (means, lows, highs), strict=True):
      kept.append(end)

  for arm in found.arms:
    add(f"one automaton, {arm}", found.per_seed(lambda x: x.exact, arm))
  seeds = np.array([row.seeds for row in found.rows])
  attempts = np.array([row.attempts for row in found.rows])
  for i, name in enumerate(("one attempt", "two attempts")):
    add(f"a seed's arms, {name}", seeds[..., i].sum(0))
    add(f"all automata, {name}", [attempts[:, i].sum()])
  return figures.bars(
    "Tasks solved exactly",
    names,
    {"tasks": means},
    errors={"tasks": (lows, highs)},
    references={"the paper, 23 of its 172": SHARE},
    value_label=f"% of {len(found.rows)} tasks",
    caption="Mean and 95 % interval over seeds. All automata together give one "
    "answer, without an interval.",
  )


def _growth_figure(found, solved, failed) -> Figure:
  """Films of solved tasks, and of failures where there is room."""
  shown = _spread(solved, FILMS - min(2, len(failed)))
  shown += _spread(failed, FILMS - len(shown))
  films = {}
  for row in shown:
    picture = found.picture(row.name)
    films[_heading(row)] = Film(
      picture.frames,
      [Panel("input", picture.input), Panel("wanted", picture.wanted)],
    )
  return grid_pictures.growth(
    "Growth",
    films,
    caption="One automaton of the arm that is believed first, on the first "
    "test grid; a cell's colour is the mean over its probabilities. The film "
    "stops under the pointer.",
  )


def _gallery(found, title, rows, caption) -> Figure:
  panels = {}
  for row in rows:
    picture = found.picture(row.name)
    attempts = [
      Panel(f"attempt {i}", attempt, _wrong(attempt, picture.wanted))
      for i, attempt in enumerate(picture.attempts, 1)
    ]
    panels[_heading(row)] = [
      Panel("input", picture.input),
      *attempts,
      *[None] * (2 - len(attempts)),
      Panel("wanted", picture.wanted),
    ]
  return grid_pictures.gallery(title, panels, caption=caption)


def _wrong(attempt: np.ndarray, wanted: np.ndarray) -> np.ndarray:
  same = attempt.shape == wanted.shape
  return attempt != wanted if same else np.ones(attempt.shape, bool)


def _heading(row: Row) -> str:
  right = sum(lane.exact for lane in row.lanes)
  fits = sum(lane.fits for lane in row.lanes)
  count = len(row.lanes)
  end = "solved" if row.attempts[1] else "not solved"
  return f"{row.name} · {end} · {right} of {count} automata exact, {fits} fit"
