"""Block sizes of the GPU kernels of every op, and how a table is read."""

from collections.abc import Callable, Mapping
import itertools
from typing import Any, NamedTuple


class Sizes(NamedTuple):
  """Block sizes of one kernel.

  Attributes:
    rows: of queries in a tile, however the op makes them.
    keys: in a tile, those that the rows are multiplied by.
    warps: of a program.
    stages: tiles that are on their way at a time.
  """

  rows: int
  keys: int
  warps: int
  stages: int


def choose(table: Mapping[str, Mapping], case: tuple, device: str) -> Sizes:
  """The sizes for a case on a device, by the name that it has in JAX.

  Args:
    table: by device, or a part of its name, then by a case or the beginning of
      one; the longest entry counts. "default" is for all devices.
    case: what block sizes depend on, the most important first.
    device: its name.
  """
  names = sorted((name for name in table if name in device), key=len)
  for name in (*reversed(names), "default"):
    for length in range(len(case), 0, -1):
      if case[:length] in table[name]:
        return Sizes(*table[name][case[:length]])
  raise KeyError(case)


def candidates(case: Any, fits: Callable[[Any, Sizes], bool]) -> list[Sizes]:
  """Sizes worth measuring for a case: those that fit."""
  grid = itertools.product(
    (16, 32, 64, 128), (16, 32, 64, 128), (4, 8), (1, 2, 3)
  )
  return [size for size in itertools.starmap(Sizes, grid) if fits(case, size)]


def channels(D: int) -> int:
  """D padded for a tensor core."""
  return max(16, power_of_two(D))


def power_of_two(n: int) -> int:
  """The smallest that is not below n."""
  return 1 << (n - 1).bit_length()
