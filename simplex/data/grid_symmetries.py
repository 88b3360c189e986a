"""Maps of grids that a task's rule may commute with, and their undoing.

A rule commutes with a map when the map of an input has the map of its output as
its output. Each pair of a task then stands for as many as there are maps: more
data, and a smaller class of rules.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.data import grids
from simplex.types import Array

# Map k is a transposition when k >= 4, then k % 4 quarter turns to the left.
DIHEDRAL = 8
UNDO = (0, 3, 2, 1, 4, 5, 6, 7)
GROUPS = {
  "identity": (0,),
  "columns": (0, 7),  # left and right exchanged
  "rows": (0, 5),  # top and bottom exchanged
  "dihedral": tuple(range(DIHEDRAL)),
}


class Map(NamedTuple):
  """What one example goes through; all are traced.

  Attributes:
    turn: 0..7, which of the dihedral maps.
    recolour: [K], the new colour of each.
    shift: [2], rows and columns by which a grid's content moves inside it.
  """

  turn: Array
  recolour: Array
  shift: Array


def dihedral(turn: Array, grid_YX: Array) -> Array:
  """One of the 8 symmetries of the square; `UNDO[turn]` undoes it.

  Args:
    turn: 0..7, also traced: then the grid has to be square.
    grid_YX: any array of two axes, or more behind them.
  """
  if isinstance(turn, int | np.integer):
    return _turned(int(turn), grid_YX)
  branches = [lambda x, k=k: _turned(k, x) for k in range(DIHEDRAL)]
  return jax.lax.switch(turn, branches, grid_YX)


def _turned(turn, grid_YX):
  module = np if isinstance(grid_YX, np.ndarray) else jnp
  grid_YX = module.swapaxes(grid_YX, 0, 1) if turn >= 4 else grid_YX
  return module.rot90(grid_YX, turn % 4)


def permutation(noise_K: Array, free_K: Array) -> Array:
  """A permutation of the free colours that keeps the others, `[K]`.

  Args:
    noise_K: the free colours are put in its order; in [0, 1).
    free_K: bool.
  """
  colours_K = jnp.arange(free_K.shape[0])
  # Both orders end in the fixed colours as they are: sorting is stable.
  slots_K = jnp.argsort(jnp.where(free_K, 0, 1))
  drawn_K = jnp.argsort(jnp.where(free_K, noise_K, 1))
  return colours_K.at[slots_K].set(drawn_K)


def exchangeable(task: grids.Task) -> np.ndarray:
  """Colours whose names can hardly matter to a task, bool [K].

  Those that some training input lacks, or that only test inputs have, and that
  no output has without its input: nothing that holds for every pair can be said
  of such a colour by its name. Where there is one alone there is no exchange.
  """
  shown = [set(np.unique(pair.input)) for pair in task.train]
  asked = [set(np.unique(pair.input)) for pair in task.test]
  made = [
    set(np.unique(pair.output)) - inside
    for pair, inside in zip(task.train, shown, strict=True)
  ]
  some = set.union(*shown, *asked)
  free = some - set.intersection(*shown) - set.union(*made)
  free_K = np.isin(np.arange(grids.COLOURS), sorted(free))
  return free_K if len(free) > 1 else np.zeros(grids.COLOURS, bool)


def room(pair: grids.Pair) -> np.ndarray:
  """How far a pair's content can move up, down, left and right, `[4]`.

  Over rows and columns that are of the input's commonest colour in the input
  and in the output. A pair of one colour has no content: it cannot move.
  """
  if pair.input.shape != pair.output.shape:
    raise ValueError(
      f"a pair of sizes {pair.input.shape} and {pair.output.shape} cannot be "
      "moved: they need to be equal"
    )
  background = np.bincount(pair.input.ravel()).argmax()
  full_YX = (pair.input != background) | (pair.output != background)
  rows, columns = np.flatnonzero(full_YX.any(1)), np.flatnonzero(full_YX.any(0))
  if not len(rows):
    return np.zeros(4, np.int32)
  Y, X = full_YX.shape
  ends = (rows[0], Y - 1 - rows[-1], columns[0], X - 1 - columns[-1])
  return np.array(ends, np.int32)


def shifted(grid_YX: Array, shift: Array, size: Array) -> Array:
  """Moves the content of the first `size` rows and columns, cyclically.

  Args:
    grid_YX: padded beyond `size`.
    shift: [2], rows and columns; within `room` nothing falls over the edge.
    size: [2], of the grid without its padding.
  """
  places = [
    jnp.where(jnp.arange(n) < s, (jnp.arange(n) - d) % s, jnp.arange(n))
    for n, d, s in zip(grid_YX.shape, shift, size, strict=True)
  ]
  return grid_YX[places[0][:, None], places[1]]


def applied(change: Map, grid_YX: Array, size: Array) -> Array:
  """A padded square grid after the shift, the new colours and the turn."""
  moved_YX = shifted(grid_YX, change.shift, size)
  return dihedral(change.turn, change.recolour[moved_YX])
