"""What the TPU kernels of forgetting attention do with one tile, and the walk.

Local axes: x is the side that a kernel owns, y the side that passes by.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from simplex.kernels import tpu
from simplex.kernels.forgetting_attention import gates
from simplex.kernels.forgetting_attention.tpu_layout import Config, Side, head


class Places(NamedTuple):
  """Of the queries or the keys of a tile, as columns or as rows.

  Attributes:
    high: prefix sums of the log gates.
    low: what is to be added to them.
    position: of S.
    segment: empty, or its number.
  """

  high: jax.Array
  low: jax.Array
  position: jax.Array
  segment: tuple | jax.Array


class Stream(NamedTuple):
  """A side in HBM, and room for two of its blocks.

  Attributes:
    source: the arrays.
    buffers: the same with one axis of 2 in front.
    semaphores: one for each array and buffer.
  """

  source: Side
  buffers: Side
  semaphores: jax.Array

  def block(self, slot) -> Side:
    return jax.tree.map(lambda x: x.at[slot], self.buffers)

  def copies(self, cfg: Config, b, h, n, slot) -> list:
    """Of block n of head h of H into one of the two buffers."""
    copies = []
    for i, name in enumerate(Side._fields):
      source, buffer = getattr(self.source, name), getattr(self.buffers, name)
      if isinstance(source, tuple):
        continue
      is_matrix = name in ("x", "y")
      size = buffer.shape[1 if is_matrix else 2]
      block, whole = pl.ds(pl.multiple_of(n * size, size), size), slice(None)
      at = (block, whole) if is_matrix else (whole, block)
      source = source.at[(b, head(cfg, source, h), *at)]
      semaphore = self.semaphores.at[i, slot]
      copy = pltpu.make_async_copy(source, buffer.at[slot], semaphore)
      copies.append(copy)
    return copies


def stream_scratch(side: Side, block: int) -> tuple:
  """Shapes of the buffers and the semaphores of a `Stream`."""

  def room(x, shape):
    return pltpu.VMEM((2, *shape), x.dtype)

  across = lambda x: room(x, (x.shape[2], block))
  along = lambda x: room(x, (block, x.shape[3]))
  buffers = Side(
    along(side.x),
    along(side.y),
    across(side.vectors),
    side.segments
    if isinstance(side.segments, tuple)
    else across(side.segments),
  )
  return buffers, pltpu.SemaphoreType.DMA((len(Side._fields), 2))


def for_each_block(
  cfg: Config, stream: Stream, place: Callable, number, body: Callable
):
  """Calls `body` with blocks of the passing side while the next is copied.

  Args:
    cfg: of the call.
    stream: the side.
    place: of a step: batch, head of H and block.
    number: of steps.
    body: of a step and its block; returns whether to stop after it.

  Returns:
    How many steps were made.
  """
  copies = lambda step: stream.copies(cfg, *place(step), step & 1)

  def copy(step):
    @pl.when(step < number)
    def _():
      for x in copies(step):
        x.start()

  def wait(step):
    for x in copies(step):
      x.wait()

  def step(carry):
    step, _ = carry
    copy(step + 1)
    wait(step)
    stop = body(step, stream.block(step & 1))
    return step + 1, jnp.int32(stop)

  copy(jnp.int32(0))
  steps, _ = lax.while_loop(
    lambda carry: (carry[0] < number) & (carry[1] == 0),
    step,
    (jnp.int32(0), jnp.int32(0)),
  )

  # Of a stop: the next block is on its way.
  @pl.when(steps < number)
  def _():
    wait(steps)

  return steps


def vector(side: Side, i: int, axis: int):
  """Vector i of a side that is an axis of the tile."""
  if axis == 0:
    return side.vectors[:, i : i + 1]
  return side.vectors[i : i + 1, :]


def places(side: Side, first, axis: int) -> Places:
  """Of a block whose first position is `first`, for an axis of the tile."""
  high, low = vector(side, 0, axis), vector(side, 1, axis)
  position = first + lax.broadcasted_iota(jnp.int32, high.shape, axis)
  segment = () if isinstance(side.segments, tuple) else side.segments[...]
  return Places(high, low, position, segment)


def scores(cfg: Config, x, y, q: Places, k: Places):
  """Logits with decay, `[x, y]`, float32, and -inf where nothing is seen.

  Args:
    cfg: of the call.
    x: q or k of the owned side.
    y: k or q of the passing side.
    q: places of the queries.
    k: places of the keys.
  """
  # Parts of sums are subtracted pair by pair: with a position between as a
  # reference, what cancels would leave its rounding on the diagonal.
  decay_xy = gates.decay(q.high, q.low, k.high, k.low)
  seen_xy = q.position >= k.position
  seen_xy &= q.position - cfg.window < k.position
  if not isinstance(q.segment, tuple):
    seen_xy &= q.segment == k.segment
  s_xy = cfg.scale * tpu.dot(x, y, (1, 1)) + decay_xy
  return jnp.where(seen_xy, s_xy, -jnp.inf)
