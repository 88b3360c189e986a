"""Tasks of 1D-ARC, on rows of colours.

`read` takes a folder of https://github.com/khalil-research/1D-ARC. `stand_in`
makes rows of six families like its own, to try the code where the data is not:
no number on it is one on 1D-ARC.
"""

from collections.abc import Sequence
import functools
import json
import pathlib
from typing import NamedTuple

import numpy as np

from trainers import files

DEMONSTRATIONS = 3
COLOURS = 10


class Rows(NamedTuple):
  """Tasks as rows of colours, -1 outside of a row.

  Attributes:
    family: number of each task's family, `[N]`.
    inputs: of the demonstrations and, last, of the question, `[N, 4, X]`.
    outputs: what they become, `[N, 4, X]`.
  """

  family: np.ndarray
  inputs: np.ndarray
  outputs: np.ndarray


def read(folder: pathlib.Path) -> tuple[tuple[str, ...], Rows]:
  """Tasks of a folder of 1D-ARC: a folder of JSON files for each family.

  Returns:
    Names of the families, and the tasks, padded to the longest row.

  Raises:
    InputError: there is no task, or a file is none; it is named.
  """
  paths = sorted(folder.glob("*/*.json"))
  if not paths:
    raise files.InputError(
      f"{folder} has no file <family>/<task>.json. 1D-ARC is 901 small tasks "
      "of 18 families on rows of colours: get it by git clone "
      "https://github.com/khalil-research/1D-ARC and give its folder dataset, "
      "as in --set=data=1D-ARC/dataset; --set=data=stand_in needs no data, and "
      "no number of it is one on 1D-ARC"
    )
  names = tuple(sorted({path.parent.name for path in paths}))
  family = [names.index(path.parent.name) for path in paths]
  return names, _padded(family, [_parse(path) for path in paths])


def _parse(path):
  try:
    task = json.loads(path.read_text())
    pairs = task["train"] + task["test"]
    rows = [(np.ravel(p["input"]), np.ravel(p["output"])) for p in pairs]
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise files.InputError(f"{path} is no ARC task: {error!r}") from error
  if len(rows) != DEMONSTRATIONS + 1:
    raise files.InputError(f"{path} has {len(rows)} pairs and not 3 and 1")
  for row in sum(rows, ()):
    if not (np.isin(row, range(COLOURS)).all() and row.size):
      raise files.InputError(f"{path} has the row {row}; colours are 0 to 9")
  if any(x.shape != y.shape for x, y in rows):
    raise files.InputError(
      f"{path} has an input and an output of different lengths"
    )
  return rows


def _padded(family: Sequence[int], tasks: Sequence[Sequence]) -> Rows:
  length = max(x.size for task in tasks for x, _ in task)
  pad = lambda row: np.pad(row, (0, length - row.size), constant_values=-1)
  arrays = np.array([[[pad(x), pad(y)] for x, y in task] for task in tasks])
  return Rows(np.array(family), arrays[:, :, 0], arrays[:, :, 1])


def _block(rng, length):
  row, size = np.zeros(length, int), rng.integers(3, length // 2)
  start = rng.integers(0, length - size - 3)
  row[start : start + size] = rng.integers(1, COLOURS)
  return row, start, size


def _move(rng, length, distance):
  row, _, _ = _block(rng, length)
  return row, np.roll(row, distance)


def _hollow(rng, length):
  row, start, size = _block(rng, length)
  out = row.copy()
  out[start + 1 : start + size - 1] = 0
  return row, out


def _fill(rng, length):
  row, out = _hollow(rng, length)
  return out, row


def _denoise(rng, length):
  row, start, size = _block(rng, length)
  noisy = row.copy()
  free = [i for i in range(length) if not start - 1 <= i <= start + size]
  noisy[rng.choice(free, 2, replace=False)] = row[start]
  return noisy, row


FAMILIES = {
  "move 1": functools.partial(_move, distance=1),
  "move 2": functools.partial(_move, distance=2),
  "move 3": functools.partial(_move, distance=3),
  "fill": _fill,
  "hollow": _hollow,
  "denoise": _denoise,
}


def stand_in(
  seed: int, count: int, length: int = 16
) -> tuple[tuple[str, ...], Rows]:
  """So many tasks of each of `FAMILIES`; not 1D-ARC, but of its kind."""
  rng = np.random.default_rng(seed)
  pairs = DEMONSTRATIONS + 1
  family = np.repeat(np.arange(len(FAMILIES)), count)
  makers = list(FAMILIES.values())
  tasks = [[makers[f](rng, length) for _ in range(pairs)] for f in family]
  return tuple(FAMILIES), _padded(family, tasks)


def split(rows: Rows, seed: int, held_out: float = 0.1) -> tuple[Rows, Rows]:
  """Tasks to train on, and tasks of the same families to be asked."""
  order = np.random.default_rng(seed).permutation(len(rows.family))
  cut = max(1, round(held_out * len(order)))
  take = lambda chosen: Rows(*(x[chosen] for x in rows))
  return take(order[cut:]), take(order[:cut])
