"""Tasks of coloured grids, as in ARC (Chollet 2019): reading and choosing.

A task shows a few pairs of grids, an input and its output, and asks for the
outputs of test inputs. Grids are of integers 0..9, the colours, and are at most
30 x 30.
"""

from collections.abc import Mapping, Sequence
import difflib
from typing import Any, NamedTuple

import numpy as np

COLOURS = 10
LARGEST = 30


class Pair(NamedTuple):
  """A grid and what a task makes of it, integers in 0..9, `[Y, X]` each."""

  input: np.ndarray
  output: np.ndarray


class Task(NamedTuple):
  """A task: its name, the pairs that it shows, and those that it asks."""

  name: str
  train: tuple[Pair, ...]
  test: tuple[Pair, ...]


def parse(name: str, data: Any) -> Task:
  """The task in a value read from JSON.

  Args:
    name: of the task, for messages.
    data: `{"train": [{"input": rows, "output": rows}, ...], "test": [...]}`.

  Raises:
    ValueError: it is none; the message names the field, the pair and the grid.
  """
  parts = []
  for part in ("train", "test"):
    where = f"task {name!r}: the field {part!r}"
    if not isinstance(data, Mapping) or part not in data:
      raise ValueError(
        f"{where} is missing; an ARC task has 'train' and 'test', lists of "
        "pairs of 'input' and 'output'"
      )
    if not isinstance(data[part], Sequence) or not len(data[part]):
      raise ValueError(
        f"{where} is {_short(data[part])}; it is a list of pairs"
      )
    pairs = enumerate(data[part], 1)
    parts.append(
      tuple(_pair(f"task {name!r}, {part} pair {i}", p) for i, p in pairs)
    )
  return Task(name, *parts)


def _pair(where: str, data: Any) -> Pair:
  for field in Pair._fields:
    if not isinstance(data, Mapping) or field not in data:
      raise ValueError(
        f"{where} has no field {field!r}; a pair has 'input' and 'output'"
      )
  return Pair(*(_grid(f"{where}, {f}", data[f]) for f in Pair._fields))


def _grid(where: str, rows: Any) -> np.ndarray:
  is_list = isinstance(rows, Sequence | np.ndarray) and len(rows)
  if not is_list or not all(isinstance(r, Sequence | np.ndarray) for r in rows):
    raise ValueError(f"{where} is {_short(rows)}; a grid is a list of rows")
  lengths = sorted({len(row) for row in rows})
  if len(lengths) > 1 or not lengths[0]:
    raise ValueError(f"{where} has rows of lengths {lengths}; they need one")
  if max(len(rows), lengths[0]) > LARGEST:
    raise ValueError(
      f"{where} is {len(rows)} x {lengths[0]}; at most {LARGEST} x {LARGEST} "
      "are allowed"
    )
  for cell in (cell for row in rows for cell in row):
    whole = isinstance(cell, int | np.integer) and not isinstance(cell, bool)
    if not whole or not 0 <= cell < COLOURS:
      raise ValueError(
        f"{where} has the colour {_short(cell)}; colours are the integers "
        f"0..{COLOURS - 1}"
      )
  return np.array(rows, np.int32)


def _short(value: Any) -> str:
  text = repr(value)
  return text if len(text) < 40 else text[:37] + "..."


def has_same_sizes(task: Task) -> bool:
  """Whether every output, also of the test, has the size of its input."""
  return all(p.input.shape == p.output.shape for p in task.train + task.test)


def has_seen_colours(task: Task) -> bool:
  """Whether all colours of the test grids occur in the training pairs."""
  return colours(task.test) <= colours(task.train)


def is_feasible(task: Task) -> bool:
  """The choice of Xu & Miikkulainen (2025): 172 of ARC-AGI-1's 400.

  138 training tasks change the size of a grid, and 90 of the others show a
  colour in the test that no training pair has.
  """
  return has_same_sizes(task) and has_seen_colours(task)


def check_sizes(task: Task) -> None:
  """Raises a ValueError where a shown output differs in size from its input.

  Test outputs are not looked at: they are what is asked for.
  """
  for i, pair in enumerate(task.train, 1):
    if pair.input.shape != pair.output.shape:
      raise ValueError(
        f"task {task.name!r}, train pair {i} maps {_size(pair.input)} to "
        f"{_size(pair.output)}; an automaton keeps the size of its grid"
      )


def _size(grid_YX: np.ndarray) -> str:
  return " x ".join(map(str, grid_YX.shape))


def colours(pairs: Sequence[Pair]) -> set[int]:
  """All colours of the grids, inputs and outputs."""
  return {int(c) for pair in pairs for grid in pair for c in np.unique(grid)}


def side(pairs: Sequence[Pair]) -> int:
  """The most rows or columns of any of the inputs."""
  return max(max(pair.input.shape) for pair in pairs)


def held_out(task: Task, which: int = -1) -> Task:
  """The task that asks for one of the shown pairs, and never for the test.

  Recipes are chosen with it: nothing of the test enters.

  Raises:
    ValueError: there is a single training pair.
  """
  if len(task.train) < 2:
    raise ValueError(
      f"task {task.name!r} has one training pair; holding one out needs two"
    )
  rest = list(task.train)
  asked = rest.pop(which)
  return task._replace(train=tuple(rest), test=(asked,))


def sample(
  tasks: Sequence[Task],
  count: int,
  *,
  seed: int,
  largest: int = LARGEST,
) -> list[Task]:
  """A seeded choice among feasible tasks that looks at sizes alone.

  Args:
    tasks: to choose from.
    count: how many; fewer where fewer are allowed.
    seed: decides the choice.
    largest: the most rows or columns of a grid.

  Returns:
    The chosen tasks, in the order of their names.
  """
  allowed = sorted(
    (t for t in filter(is_feasible, tasks) if _largest(t) <= largest),
    key=lambda task: task.name,
  )
  order = np.random.default_rng(seed).permutation(len(allowed))[:count]
  return [allowed[i] for i in sorted(order)]


def _largest(task: Task) -> int:
  return side(task.train + task.test)


def named(tasks: Mapping[str, Any], names: Sequence[str]) -> list[str]:
  """The names, all of them known.

  Raises:
    ValueError: some are unknown; shows the nearest.
  """
  for name in names:
    if name not in tasks:
      near = difflib.get_close_matches(name, tasks, n=3, cutoff=0.4)
      hint = f"; the nearest are {', '.join(near)}" if near else ""
      raise ValueError(
        f"there is no task {name!r} among {len(tasks)} tasks{hint}"
      )
  return list(names)
