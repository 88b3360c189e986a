"""Pairs of grids padded to one size, and random examples made of them."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from simplex.data import grid_symmetries, grids
from simplex.types import Array

NOISE = 3 + grids.COLOURS  # numbers that decide a random map
SIDES = (6, 10, 13, 16, 19, 22, 26, 30)


class Padded(NamedTuple):
  """N pairs of like size, zero beyond their own, square: Y = X.

  Attributes:
    input_NYX: colours.
    output_NYX: colours.
    size_N2: rows and columns of each pair; zeros where there is no pair.
    room_N4: how far each can move; see `grid_symmetries.room`.
    count: how many of the N are pairs.
    free_K: colours that may be exchanged.
  """

  input_NYX: Array
  output_NYX: Array
  size_N2: Array
  room_N4: Array
  count: Array
  free_K: Array


class Example(NamedTuple):
  """A grid, its output, and where they are a grid and not padding."""

  input_YX: Array
  output_YX: Array
  mask_YX: Array


def padded_side(side: int, sides: Sequence[int] = SIDES) -> int:
  """The least of `sides` in which a grid of that side fits.

  Raises:
    ValueError: it fits in none.
  """
  if side > max(sides):
    raise ValueError(f"{side=} is above the largest of {list(sides)}")
  return min(s for s in sides if s >= side)


def pad(
  pairs: Sequence[grids.Pair], side: int, count: int, free_K: np.ndarray
) -> Padded:
  """The pairs in the upper left corners of `count` squares.

  Raises:
    ValueError: a pair is larger than `side`, or changes its size; or there are
      more than `count` pairs.
  """
  if len(pairs) > count:
    raise ValueError(f"{len(pairs)} pairs do not fit in {count=}")
  grids_2NYX = np.zeros((2, count, side, side), np.int32)
  size_N2 = np.zeros((count, 2), np.int32)
  room_N4 = np.zeros((count, 4), np.int32)
  for n, pair in enumerate(pairs):
    room_N4[n] = grid_symmetries.room(pair)
    Y, X = size_N2[n] = pair.input.shape
    if max(Y, X) > side:
      raise ValueError(f"train pair {n + 1} is {Y} x {X}, above {side=}")
    grids_2NYX[:, n, :Y, :X] = pair
  return Padded(*grids_2NYX, size_N2, room_N4, np.int32(len(pairs)), free_K)


def mask(side: int, size: Array) -> Array:
  """True in the first rows and columns, bool [side, side]."""
  places = jnp.arange(side)
  return (places[:, None] < size[0]) & (places < size[1])


def random_map(
  noise_N: Array, data: Padded, n: Array, turns: ArrayLike, *, recolour, shift
) -> grid_symmetries.Map:
  """A random map for pair n.

  Args:
    noise_N: `NOISE` numbers that decide, uniform in [0, 1).
    data: of the task.
    n: index of a pair.
    turns: the dihedral maps to draw from, also traced.
    recolour: bool, traced or not; whether free colours are exchanged.
    shift: bool, likewise; whether content is moved where it has room.
  """
  turns = jnp.asarray(turns)
  up, down, left, right = jnp.asarray(data.room_N4)[n] * shift
  return grid_symmetries.Map(
    turns[_whole(noise_N[0], len(turns))],
    grid_symmetries.permutation(noise_N[3:], data.free_K & recolour),
    jnp.stack(
      [
        _whole(noise_N[1], up + down + 1) - up,
        _whole(noise_N[2], left + right + 1) - left,
      ]
    ),
  )


def _whole(noise, count):
  """Uniform in 0..count - 1."""
  return (noise * count).astype(jnp.int32)


def example(data: Padded, n: Array, change: grid_symmetries.Map) -> Example:
  """Pair n after a map, with its mask."""
  size = jnp.asarray(data.size_N2)[n]
  on = lambda grids_NYX: grid_symmetries.applied(
    change, jnp.asarray(grids_NYX)[n], size
  )
  side = data.input_NYX.shape[-1]
  inside_YX = grid_symmetries.dihedral(change.turn, mask(side, size))
  return Example(on(data.input_NYX), on(data.output_NYX), inside_YX)
