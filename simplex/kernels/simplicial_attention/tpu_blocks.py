"""How the TPU kernels cut their axes, and which pieces meet.

Queries are rows: the N heads of a key head's group times T, the head fastest,
so that a tile of rows is full whatever the ratio of heads. A block is what one
step of the grid holds in VMEM; a tile is what one product of matrices takes
from it. Loops over tiles skip those that no query sees, so large blocks waste
nothing. Intervals hold both of their ends, and may reach outside of an axis.
"""

from typing import NamedTuple

import jax
from jax import lax
import jax.numpy as jnp
import numpy as np

from simplex.kernels import tpu

ROW_TILE = 64
# Rows of a product of matrices, at least: fewer would not pay for loading the
# other matrix into the MXU.
PRODUCT_ROWS = 256
SHORT_TILE = 8
LONG_TILE = 128
ROW_BLOCK = 512
SHORT_BLOCK = 512
LONG_BLOCK = 512
# Gradients of q are written once for each block of short keys that q meets.
MOST_SHORT_BLOCK = 2048
# Rows of 16 bits are packed in pairs of the 8 sublanes of a register.
ROW_MULTIPLE = 16
# Pipelined blocks may take up to this of the limit; the rest is for tiles of
# logits.
VMEM_BUDGET = 28 * 2**20


class Axis(NamedTuple):
  """One axis of keys, and what of it each query sees.

  Attributes:
    length: how many keys.
    offset: the position of the first query on this axis.
    before: how many keys before its own position a query sees.
    after: how many after it.
    tile: keys of a product.
    block: keys of a step of the grid, a multiple of `tile`.
  """

  length: int
  offset: int
  before: int
  after: int
  tile: int
  block: int


class Plan(NamedTuple):
  """The axes of a call; `heads` of a group share their keys.

  Attributes:
    heads: heads that share a key head.
    rows: number of pairs of a query and one of these heads.
    tile: rows of a product, times the tile of the short axis.
    block: rows of a step of the grid.
    short: the first key axis.
    long: the second.
  """

  heads: int
  rows: int
  tile: int
  block: int
  short: Axis
  long: Axis


def make_plan(T, heads, lengths, spans, width, terms, itemsize) -> Plan:
  """Chooses tiles and blocks.

  Args:
    T: number of queries.
    heads: heads of a group.
    lengths: of the short and of the long axis.
    spans: keys before and after, for both.
    width: of values, filled up to the lanes.
    terms: how often the width is in that of q and k1.
    itemsize: bytes of an input number.
  """
  rows = T * heads
  windows = [sum(span) + 1 for span in spans]
  # A tile of rows sees a window and as many keys more as it has queries; half
  # a window of queries keeps most of each product visible.
  tile = min(ROW_TILE, max(1, windows[0] // 2) * heads, rows)
  tile = tpu.round_up(tile, ROW_MULTIPLE)
  short_tile = SHORT_TILE * max(1, PRODUCT_ROWS // (SHORT_TILE * tile))
  short_tile = min(short_tile, tpu.round_up(lengths[0], SHORT_TILE))
  long_tile = LONG_TILE * (2 if windows[1] >= 8 * LONG_TILE else 1)
  block = min(tpu.round_up(rows, tile), max(tile, ROW_BLOCK // tile * tile))
  long_block = min(max(LONG_BLOCK, long_tile), lengths[1])

  # Twice, because blocks are copied while others are computed with: q, d_out,
  # d_q, lse and delta of rows; k1, v1 and their gradients of short keys.
  row_bytes = (
    2 * width * ((terms + 1) * itemsize + terms * 4) + 2 * 4 * tpu.LANES
  )
  key_bytes = 2 * 2 * 4 * width * (terms + 1)
  room = (VMEM_BUDGET - block * row_bytes) // key_bytes // short_tile
  most = max(SHORT_BLOCK, min(MOST_SHORT_BLOCK, room * short_tile))
  short_block = min(max(windows[0], SHORT_BLOCK), most, lengths[0])

  def axis(i, tile, block):
    length, block = lengths[i], tpu.round_up(block, tile)
    return Axis(length, length - T, *spans[i], tile, block)

  axes = axis(0, short_tile, short_block), axis(1, long_tile, long_block)
  return Plan(heads, rows, tile, block, *axes)


def sizes(plan: Plan, axis: str) -> tuple[int, int]:
  """Length and block of the axis "rows", "short" or "long"."""
  if axis == "rows":
    return plan.rows, plan.block
  keys = getattr(plan, axis)
  return keys.length, keys.block


def seen_keys(plan: Plan, axis: Axis, start, size):
  """The interval of keys that rows `start ..< start + size` see."""
  first = divide(start, plan.heads)
  last = divide(_minimum(start + size, plan.rows) - 1, plan.heads)
  return first + axis.offset - axis.before, last + axis.offset + axis.after


def seeing_rows(plan: Plan, axis: Axis, start, size):
  """The interval of rows that see one of keys `start ..< start + size`."""
  last = _minimum(start + size, axis.length) - 1
  first_query = start - axis.offset - axis.after
  last_query = last - axis.offset + axis.before
  return first_query * plan.heads, (last_query + 1) * plan.heads - 1


def blocks(interval, size, length):
  """The first and the last block that hold an interval, within the axis."""
  return tuple(divide(_clip(x, length - 1), size) for x in interval)


def tiles(interval, length, base, tile, block):
  """First tile of the block at `base` that meets an interval, and the end."""
  first, last = interval
  start = divide(_clip(first - base, block), tile)
  stop = _clip(_minimum(last, length - 1) + 1 - base, block)
  return start, divide(stop + tile - 1, tile)


class Visit(NamedTuple):
  """Where a step of the grid is.

  A step that is left over has blocks that its owner does not meet: no loop
  over tiles finds any in them.

  Attributes:
    rows: block of rows.
    short: block of short keys.
    long: block of second keys.
  """

  rows: jax.Array
  short: jax.Array
  long: jax.Array


def grid(plan: Plan, owner: str) -> tuple[int, int, int]:
  """Steps over blocks of the owner, and over those that it meets."""
  keys = {"short": plan.short, "long": plan.long}
  every_row = np.arange(0, plan.rows, plan.block)
  met = {
    name: _most(seen_keys(plan, axis, every_row, plan.block), axis)
    for name, axis in keys.items()
  }
  if owner == "rows":
    return len(every_row), met["long"], met["short"]
  axis = keys.pop(owner)
  starts = np.arange(0, axis.length, axis.block)
  seeing = blocks(
    seeing_rows(plan, axis, starts, axis.block), plan.block, plan.rows
  )
  most = int(np.max(seeing[1] - seeing[0])) + 1
  return len(starts), most, met[next(iter(keys))]


def visit(plan: Plan, owner: str, ids, *, inside: bool = False) -> Visit:
  """The blocks of a step of `grid`.

  Args:
    plan: of the call.
    owner: as in `grid`: "rows", "short" or "long".
    ids: of the step.
    inside: steps left over stay at the last block met, so that nothing is
      copied for them.
  """
  place = {owner: ids[0]}
  others = [name for name in ("rows", "long", "short") if name != owner]
  rows = ids[0]
  for name, step in zip(others, ids[1:], strict=True):
    if name == "rows":
      axis = getattr(plan, owner)
      interval = seeing_rows(plan, axis, ids[0] * axis.block, axis.block)
    else:
      axis = getattr(plan, name)
      interval = seen_keys(plan, axis, rows * plan.block, plan.block)
    length, block = sizes(plan, name)
    first, last = blocks(interval, block, length)
    met = _minimum(first + step, last)
    place[name] = met if inside else first + step
    rows = met if name == "rows" else rows
  return Visit(**place)


def parts(plan: Plan) -> np.ndarray:
  """Whether rows of a block meet their n-th block of short keys, `[n, block]`.

  Part n of the gradient of a block of rows is written where this is true.
  """
  axis = plan.short
  starts = np.arange(0, plan.rows, plan.block)
  first, last = seen_keys(plan, axis, starts, plan.block)
  n = np.arange(_most((first, last), axis))[:, None]
  block = blocks((first, last), axis.block, axis.length)[0] + n
  end = np.minimum((block + 1) * axis.block, axis.length)
  return (first < end) & (last >= block * axis.block)


def _most(intervals, axis: Axis) -> int:
  """The most blocks that one of several intervals meets; at least one."""
  first, last = blocks(intervals, axis.block, axis.length)
  return int(np.max(last - first)) + 1


def divide(x, size):
  """Whole part of x / size for x >= 0; `//` also asks for the sign of x."""
  return x // size if _is_known(x) else lax.div(x, jnp.int32(size))


def _minimum(x, limit):
  return np.minimum(x, limit) if _is_known(x) else jnp.minimum(x, limit)


def _clip(x, limit):
  return -_minimum(-_minimum(x, limit), 0)


def _is_known(x):
  """Not traced."""
  return isinstance(x, int | np.integer | np.ndarray)
