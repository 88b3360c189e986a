"""How the arrays of the op lie in memory for tiles, and how large tiles are.

Keys are laid out so that the window of query i is `keys[i : i + w]`, whatever
its span and the lengths of the arrays, or all keys where every query sees all
of them. Letters are those of `xla`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.kernels import backend
from simplex.types import Array

# Numbers in a tile of logits: about the caches of a CPU, enough for a GPU.
TILE = {"cpu": 2**19}
TILE_ELSEWHERE = 2**24
LONGEST = {"j": 64, "c": 1024}


class Tiling(NamedTuple):
  """Sizes of a tile, and how many of them cover all queries and windows."""

  b: int
  j: int
  c: int
  num_blocks: int
  num_j: int
  num_c: int


class Axis(NamedTuple):
  """What the queries see of one key axis: query i `width` from `i * stride`.

  Attributes:
    stride: 1, or 0 where every query sees all keys.
    width: of a window.
    first: the number of the first key of the first window; may be negative.
    size: how many keys there are.
  """

  stride: int
  width: int
  first: int
  size: int


class Windows(NamedTuple):
  """One key axis in memory, from its first window on.

  Attributes:
    axis: what is seen of it.
    k: keys, `[B, G, N, .]`, zeros where there is no key.
    v: values, likewise.
    segments: `[B, N]`, or None.
  """

  axis: Axis
  k: Array
  v: Array
  segments: Array | None


def lay_out(q_BTHC, one, two, segments, spans):
  """The tiling, and both key axes in memory."""
  T = q_BTHC.shape[1]
  axes = [
    _axis(span, k.shape[1], T)
    for span, (k, _) in zip(spans, (one, two), strict=True)
  ]
  tiling = _tiling(q_BTHC, *axes)
  shorts = axes[0].stride * tiling.b + tiling.num_j * tiling.j
  longs = tiling.num_c * tiling.c
  lay = functools.partial(_windows, tiling)
  return (
    tiling,
    lay(axes[0], one, segments[1], shorts),
    lay(axes[1], two, segments[2], longs),
  )


def starts(tiling, one, two, n, j, c):
  """Where tile (j, c) of block n begins on either axis."""
  query = n * tiling.b
  return one.stride * query + j * tiling.j, two.stride * query + c * tiling.c


def _axis(span, size, T):
  before, after = span
  if before >= size - 1 and after >= T - 1:
    return Axis(0, size, 0, size)
  return Axis(1, before + after + 1, size - T - before, size)


def _tiling(q_BTHC, one, two):
  """Chunks of the windows, then as many queries as a tile has room for."""
  B, T, H, _ = q_BTHC.shape
  j, c = min(one.width, LONGEST["j"]), min(two.width, LONGEST["c"])
  tile = TILE.get(backend.platform(), TILE_ELSEWHERE)
  b = min(T, tile // (B * H * j * c))
  if two.stride:
    # Each query more makes a tile a key longer, which the others do not see.
    b = min(b, c // 8)
  num_blocks = -(-T // max(1, b))
  b = -(-T // num_blocks)  # even blocks
  columns = two.width + two.stride * (b - 1)
  num_c = -(-columns // LONGEST["c"])
  num_j = -(-one.width // j)
  return Tiling(b, j, -(-columns // num_c), num_blocks, num_j, num_c)


def _windows(tiling, axis, pair, segments, block_keys):
  """Lays out one key axis; a block of queries reads `block_keys` keys of it."""
  length = axis.stride * (tiling.num_blocks - 1) * tiling.b + block_keys
  low, high = max(axis.first, 0), min(axis.first + length, axis.size)

  def lay(x):
    pads = [(0, 0)] * x.ndim
    pads[1] = (low - axis.first, axis.first + length - high)
    return jnp.pad(_wide(x[:, low:high]), pads)

  k, v = (lay(x).swapaxes(1, 2) for x in pair)
  return Windows(axis, k, v, None if segments is None else lay(segments))


def keys_of(d_BGND, axis):
  """The gradient of the keys from that of their layout, `[B, S, G, .]`."""
  low, high = max(axis.first, 0), axis.first + d_BGND.shape[2]
  d_BGND = d_BGND[:, :, low - axis.first : axis.size - axis.first]
  pads = [(0, 0), (0, 0), (low, axis.size - min(high, axis.size)), (0, 0)]
  return jnp.pad(d_BGND, pads).swapaxes(1, 2)


def _wide(x):
  return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x


def blocks_of(tiling, G, arrays):
  """Arrays of queries, in blocks: `[n, B, G, g, b, ...]` or `[n, B, b]`."""
  n, b = tiling.num_blocks, tiling.b

  def split(x):
    B, T, *rest = x.shape
    x = jnp.pad(_wide(x), [(0, 0), (0, n * b - T)] + [(0, 0)] * len(rest))
    if not rest:
      return x.reshape(B, n, b).swapaxes(0, 1)
    H, *D = rest
    x = x.reshape(B, n, b, G, H // G, *D)
    return jnp.moveaxis(x, (1, 2), (0, 4))

  return jax.tree.map(split, tuple(arrays))


def queries_of(x_nBGgb, T):
  """`[n, B, G, g, b, ...]` back to `[B, T, H, ...]`."""
  n, B, G, g, b, *D = x_nBGgb.shape
  x = jnp.moveaxis(x_nBGgb, (0, 4), (1, 2))
  return x.reshape(B, n * b, G * g, *D)[:, :T]
