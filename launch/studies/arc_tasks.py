"""Which tasks a run is about, and why others are not."""

from collections.abc import Sequence
import functools
from typing import NamedTuple

from simplex.data import grids
from trainers import arc

SETS = ("sample", "feasible", "training", "evaluation")


class Chosen(NamedTuple):
  """Tasks to be answered, and the reason for each that cannot be."""

  tasks: list[grids.Task]
  refused: dict[str, str]


def choose(
  data: str,
  names: Sequence[str],
  *,
  seed: int,
  sample: int,
  largest: int,
  held_out: bool,
) -> Chosen:
  """The tasks that `names` stand for.

  Args:
    data: "arcagi1", "arcagi2" or a folder; see `trainers/arc.py`.
    names: one of `SETS`, or names of tasks, of either part.
    seed: of the sample.
    sample: how many tasks "sample" has.
    largest: the most rows or columns of a grid, in "sample".
    held_out: ask for the last training pair; the test is thrown away.

  Returns:
    Tasks whose training pairs keep their size. "training" and "evaluation" are
    all of a part: what is refused counts as not solved.

  Raises:
    ValueError: a name is unknown, or nothing is left to be answered.
  """
  is_set = len(names) == 1 and names[0] in SETS
  parts = arc.PARTS
  if is_set:
    parts = ("evaluation",) if names[0] == "evaluation" else ("training",)
  raw, refused = {}, {}
  for part in parts:
    loaded = arc.load(data, part)
    raw = loaded.tasks | raw
    refused = loaded.refused | refused
  if not is_set:
    try:
      grids.named(raw | refused, names)
    except ValueError as error:
      sets = ", ".join(SETS)
      raise ValueError(f"{error}; or one set alone: {sets}") from error
    raw = {name: raw[name] for name in names if name in raw}
    refused = {name: refused[name] for name in names if name in refused}
  tasks = _each(
    ((n, functools.partial(grids.parse, n, x)) for n, x in raw.items()), refused
  )
  if is_set and names[0] in ("sample", "feasible"):
    count, limit = len(tasks), grids.LARGEST
    if names[0] == "sample":
      count, limit = sample, largest
    tasks = grids.sample(tasks, count, seed=seed, largest=limit)
  ask = functools.partial(_asked, held_out)
  tasks = _each(((t.name, functools.partial(ask, t)) for t in tasks), refused)
  if not tasks:
    why = "; ".join(refused.values()) or "none is feasible"
    raise ValueError(f"tasks={list(names)}: nothing to answer: {why}")
  return Chosen(sorted(tasks, key=lambda task: task.name), refused)


def _asked(held_out: bool, task: grids.Task) -> grids.Task:
  grids.check_sizes(task)
  return grids.held_out(task) if held_out else task


def _each(makers, refused: dict[str, str]) -> list[grids.Task]:
  """The tasks that can be made; a bad one does not stop the others."""
  made = []
  for name, make in makers:
    try:
      made.append(make())
    except ValueError as error:
      refused[name] = str(error)
  return made


def count_feasible(data: str) -> int | None:
  """Feasible training tasks of ARC-AGI-1; None of another collection."""
  if data != "arcagi1":
    return None
  raw = arc.load(data, "training").tasks
  return sum(grids.is_feasible(grids.parse(n, x)) for n, x in raw.items())
