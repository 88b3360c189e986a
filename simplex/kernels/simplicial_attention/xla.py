"""Any device: tiles of queries, short keys and long keys, never all of them.

A block of b queries meets its short keys in chunks of j and its long keys in
chunks of c. A tile is one product of matrices, whose rows are heads x queries
x short keys and whose columns are long keys; the softmax runs on from tile to
tile. The backward pass computes the tiles again from the normaliser. Memory is
linear in T: one tile, and copies of the arguments.

Keys are laid out so that the window of query i is `keys[i : i + w]`, whatever
its span and the lengths of the arrays; only `_windows` knows of those. Axis
letters: b queries, j short keys and c long keys of a tile; g heads of a group.

Tiles are float32 whatever the inputs are, so half precision costs no more than
the rounding of the inputs and the output; its speed is for the kernels.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.kernels import backend
from simplex.kernels.simplicial_attention import canonical
from simplex.types import Array

# Numbers in a tile of logits: about the caches of a CPU, enough for a GPU.
TILE = {"cpu": 2**19}
TILE_ELSEWHERE = 2**24
LONGEST = {"j": 64, "c": 1024}

_dot = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Tiling(NamedTuple):
  """Sizes of a tile, and how many of them cover all queries and windows."""

  b: int
  j: int
  c: int
  num_blocks: int
  num_j: int
  num_c: int


class Windows(NamedTuple):
  """One key axis, laid out so that query i sees `[i, i + width)`.

  Attributes:
    k: keys, `[B, G, N, .]`, zeros where there is no key.
    v: values, likewise.
    segments: `[B, N]`, or None.
    width: of a window.
    first: the number of the first key, negative if there is none.
    size: how many keys there are.
  """

  k: Array
  v: Array
  segments: Array | None
  width: int
  first: int
  size: int


class Tile(NamedTuple):
  """The operands of a tile, and which pairs of it are seen."""

  a: Array  # rows, `[B, G, g, b, j, D]`
  bias: Array | float  # of their logits
  k1: Array  # `[B, G, b, j, C]`
  v1: Array
  k2: Array  # `[B, G, c, D]`
  v2: Array
  seen: Array  # `[B or 1, 1, 1, b, j, c]`


def forward(q_BTHC, k1, v1, k2, v2, *segments, product, scale, spans):
  T, D = q_BTHC.shape[1], v1.shape[-1]
  tiling = _tiling(q_BTHC, k1, spans)
  one, two = _windows_of(tiling, spans, T, (k1, v1), (k2, v2), segments)
  blocks = _blocks(tiling, k1.shape[2], (q_BTHC, segments[0]))
  cut = functools.partial(_cut, tiling, product, one, two)

  def block(xs):
    n, (q_BGgbC, segments_Bb) = xs

    def add(j, c, carry):
      top, total, out = carry
      tile = cut(q_BGgbC, segments_Bb, n, j, c)
      logits = jnp.where(tile.seen, scale * _logits(tile), -jnp.inf)
      new_top = jnp.maximum(top, logits.max((-1, -2)))
      # Minus infinity until the first pair that is seen.
      finite = jnp.where(new_top == -jnp.inf, 0, new_top)
      weights = jnp.exp(logits - finite[..., None, None])
      rescale = jnp.exp(top - finite)
      total = total * rescale + weights.sum((-1, -2))
      mixed = _mixtures(weights, tile.v2) * tile.v1[:, :, None]
      return new_top, total, out * rescale[..., None] + _sum(mixed, axis=4)

    bare = q_BGgbC.shape[:-1]
    start = jnp.full(bare, -jnp.inf), jnp.zeros(bare), jnp.zeros((*bare, D))
    top, total, out = _over_tiles(tiling, one, two, n, add, start)
    some = jnp.where(total > 0, total, 1)
    lse = jnp.where(total > 0, top + jnp.log(some), -jnp.inf)
    return out / some[..., None], lse

  out, lse = jax.lax.map(block, (jnp.arange(tiling.num_blocks), blocks))
  return _unblocked(out, T), _unblocked(lse, T)


def backward(q_BTHC, k1, v1, k2, v2, *rest, product, scale, spans):
  *segments, lse_BTH, delta_BTH, d_out_BTHD = rest
  T, G = q_BTHC.shape[1], k1.shape[2]
  tiling = _tiling(q_BTHC, k1, spans)
  one, two = _windows_of(tiling, spans, T, (k1, v1), (k2, v2), segments)
  of_queries = (q_BTHC, segments[0], lse_BTH, delta_BTH, d_out_BTHD)
  blocks = _blocks(tiling, G, of_queries)
  cut = functools.partial(_cut, tiling, product, one, two)

  def block(d_keys, xs):
    n, (q, segments_Bb, *softmax) = xs

    def add(j, c, carry):
      d_q, *d_keys = carry
      tile = cut(q, segments_Bb, n, j, c)
      d_q_more, *more = _tile_gradients(tile, product, scale, q, *softmax)
      short = n * tiling.b + j * tiling.j
      key = n * tiling.b + c * tiling.c
      starts = (short, short, key, key)
      return d_q + d_q_more, *map(_add_at, d_keys, starts, more)

    start = (jnp.zeros(q.shape), *d_keys)
    d_q, *d_keys = _over_tiles(tiling, one, two, n, add, start)
    return tuple(d_keys), d_q

  keys = (one.k, one.v, two.k, two.v)
  start = tuple(jnp.zeros(x.shape) for x in keys)
  xs = (jnp.arange(tiling.num_blocks), blocks)
  d_keys, d_q = jax.lax.scan(block, start, xs)
  sides = (one, one, two, two)
  d_keys = (_unlaid(x, side) for x, side in zip(d_keys, sides, strict=True))
  return _unblocked(d_q, T), *d_keys


def _tile_gradients(tile, product, scale, q, lse, delta, d_out):
  """What a tile adds to the gradients of q, k1, v1, k2 and v2."""
  d_out = d_out[..., None, :]
  rows = d_out * tile.v1[:, :, None]
  lse, delta = (x[..., None, None] for x in (lse, delta))
  weights = jnp.exp(scale * _logits(tile) - lse)
  weights = jnp.where(tile.seen, weights, 0)
  d_weights = _products(rows, tile.v2)
  d_logits = scale * weights * (d_weights - delta)
  # Each is read twice: made once, or XLA makes it for each of its readers.
  weights, d_logits = jax.lax.optimization_barrier((weights, d_logits))
  d_a = _mixtures(d_logits, tile.k2)
  mixed = _mixtures(weights, tile.v2)
  d_q, d_k1 = _row_gradients(product, q, tile, d_a, d_logits)
  return (
    _sum(d_q, axis=4),
    _skew_sum(_sum(d_k1, axis=2)),
    _skew_sum(_sum(mixed * d_out, axis=2)),
    _columns(d_logits, tile.a),
    _columns(weights, rows),
  )


def _tiling(q_BTHC, k1, spans):
  """Chunks of the windows, then as many queries as a tile has room for."""
  B, T, H, _ = q_BTHC.shape
  w1, w2 = (before + after + 1 for before, after in spans)
  j, c = min(w1, LONGEST["j"]), min(w2, LONGEST["c"])
  tile = TILE.get(backend.platform(), TILE_ELSEWHERE)
  b = max(1, min(T, tile // (B * H * j * c)))
  num_blocks = -(-T // b)
  b = -(-T // num_blocks)  # even blocks
  columns = w2 + b - 1
  num_c = -(-columns // LONGEST["c"])
  return Tiling(b, j, -(-columns // num_c), num_blocks, -(-w1 // j), num_c)


def _windows_of(tiling, spans, T, one, two, segments):
  _, segments_1, segments_2 = segments
  shorts = tiling.b + tiling.num_j * tiling.j
  longs = tiling.num_c * tiling.c
  return (
    _windows(tiling, spans[0], T, one, segments_1, shorts),
    _windows(tiling, spans[1], T, two, segments_2, longs),
  )


def _windows(tiling, span, T, pair, segments, block_keys):
  """Lays out one key axis; a block of queries reads `block_keys` keys of it."""
  before, after = span
  size = pair[0].shape[1]
  first = size - T - before
  length = (tiling.num_blocks - 1) * tiling.b + block_keys
  low, high = max(first, 0), min(first + length, size)

  def lay(x):
    pads = [(0, 0)] * x.ndim
    pads[1] = (low - first, first + length - high)
    return jnp.pad(_wide(x[:, low:high]), pads)

  k, v = (lay(x).swapaxes(1, 2) for x in pair)
  segments = None if segments is None else lay(segments)
  return Windows(k, v, segments, before + after + 1, first, size)


def _unlaid(d_BGND, side):
  """The gradient of the keys from that of their layout, `[B, S, G, .]`."""
  low, high = max(side.first, 0), side.first + d_BGND.shape[2]
  d_BGND = d_BGND[:, :, low - side.first : side.size - side.first]
  pads = [(0, 0), (0, 0), (low, side.size - min(high, side.size)), (0, 0)]
  return jnp.pad(d_BGND, pads).swapaxes(1, 2)


def _wide(x):
  return x.astype(jnp.float32) if jnp.issubdtype(x.dtype, jnp.floating) else x


def _blocks(tiling, G, arrays):
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


def _unblocked(x_nBGgb, T):
  """`[n, B, G, g, b, ...]` back to `[B, T, H, ...]`."""
  n, B, G, g, b, *D = x_nBGgb.shape
  x = jnp.moveaxis(x_nBGgb, (0, 4), (1, 2))
  return x.reshape(B, n * b, G * g, *D)[:, :T]


def _over_tiles(tiling, one, two, n, add, start):
  """Folds `add(j, c, carry)` over the tiles in which a block sees something."""
  if tiling.num_j == tiling.num_c == 1:
    return add(0, 0, start)
  query = n * tiling.b

  last = tiling.b - 1

  def chunks(side, size, width, first_query):
    """Of keys that exist: from the last query's first to the first's last."""
    lowest = jnp.maximum(-side.first - query - first_query, 0)
    highest = jnp.clip(side.size - side.first - query, 0, width)
    return lowest // size, -(-highest // size)

  # A chunk of short keys moves with the query, a chunk of long keys does not.
  chunks_j = chunks(one, tiling.j, one.width, last)
  chunks_c = chunks(two, tiling.c, two.width + last, 0)

  def inner(j, carry):
    fn = lambda c, carry: add(j, c, carry)
    return jax.lax.fori_loop(*chunks_c, fn, carry)

  return jax.lax.fori_loop(*chunks_j, inner, start)


def _cut(tiling, product, one, two, q_BGgbC, segments_Bb, n, j, c):
  """Tile (j, c) of block n."""
  query = n * tiling.b
  short, key = query + j * tiling.j, query + c * tiling.c
  take = jax.lax.dynamic_slice_in_dim
  index_bj = jnp.arange(tiling.b)[:, None] + jnp.arange(tiling.j)
  shorts = tiling.b + tiling.j - 1
  k1, v1 = (take(x, short, shorts, 2)[:, :, index_bj] for x in one[:2])
  k2, v2 = (take(x, key, tiling.c, 2) for x in two[:2])

  number_bj = one.first + short + index_bj
  relative_j = j * tiling.j + jnp.arange(tiling.j)
  seen_bj = (number_bj >= 0) & (number_bj < one.size) & (relative_j < one.width)
  number_c = two.first + key + jnp.arange(tiling.c)
  relative_bc = (
    c * tiling.c + jnp.arange(tiling.c) - jnp.arange(tiling.b)[:, None]
  )
  seen_bc = (relative_bc >= 0) & (relative_bc < two.width)
  seen_bc &= (number_c >= 0) & (number_c < two.size)
  seen_Bbj, seen_Bbc = seen_bj[None], seen_bc[None]
  if segments_Bb is not None:
    shorts_Bbj = take(one.segments, short, shorts, 1)[:, index_bj]
    keys_Bc = take(two.segments, key, tiling.c, 1)
    seen_Bbj &= segments_Bb[:, :, None] == shorts_Bbj
    seen_Bbc &= segments_Bb[:, :, None] == keys_Bc[:, None]
  seen_Bbjc = seen_Bbj[..., None] & seen_Bbc[:, :, None]
  a, bias = _rows(product, q_BGgbC, k1, v1.shape[-1])
  return Tile(a, bias, k1, v1, k2, v2, seen_Bbjc[:, None, None])


def _rows(product, q_BGgbC, k1_BGbjC, D):
  """What is multiplied by the long keys, and what is added to the product."""
  q, k1 = q_BGgbC[..., None, :], k1_BGbjC[:, :, None]
  terms = q * k1
  if product == "plus":
    return q + k1, terms.sum(-1)
  return terms.reshape(*terms.shape[:-1], -1, D).sum(-2), 0.0


def _logits(tile):
  return _products(tile.a, tile.k2) + jnp.asarray(tile.bias)[..., None]


def _row_gradients(product, q_BGgbC, tile, d_a, d_logits):
  """Gradients of the query and of the short key of every row."""
  q, k1 = q_BGgbC[..., None, :], tile.k1[:, :, None]
  if product == "plus":
    d_bias = d_logits.sum(-1, keepdims=True)
    return d_a + d_bias * k1, d_a + d_bias * q
  num_terms = q.shape[-1] // d_a.shape[-1]
  d_terms = jnp.concatenate([d_a] * num_terms, axis=-1)
  return d_terms * k1, d_terms * q


# Rows are one axis in products, and the longer axis of a tile comes last: both
# spare XLA's CPU backend a copy of the tile.
def _products(rows_BGgbjD, keys_BGcD):
  return _dot("BGrD,BGcD->BGrc", _flat(rows_BGgbjD), keys_BGcD).reshape(
    *rows_BGgbjD.shape[:-1], -1
  )


def _mixtures(weights_BGgbjc, values_BGcD):
  return _dot("BGrc,BGcD->BGrD", _flat(weights_BGgbjc), values_BGcD).reshape(
    *weights_BGgbjc.shape[:-1], -1
  )


def _columns(weights_BGgbjc, rows_BGgbjD):
  d_BGDc = _dot("BGrD,BGrc->BGDc", _flat(rows_BGgbjD), _flat(weights_BGgbjc))
  return d_BGDc.swapaxes(2, 3)


def _flat(x_BGgbj_):
  B, G, g, b, j, last = x_BGgbj_.shape
  return x_BGgbj_.reshape(B, G, g * b * j, last)


def _sum(x, axis):
  """A sum over a few: XLA's CPU backend reduces such axes 10 times slower."""
  return sum(
    jax.lax.index_in_dim(x, i, axis, keepdims=False)
    for i in range(x.shape[axis])
  )


def _skew_sum(d_BGbjD):
  """Sums b windows, each a key further on: `[B, G, b + j - 1, D]`."""
  B, G, b, j, D = d_BGbjD.shape
  x = jnp.pad(d_BGbjD, [(0, 0)] * 3 + [(0, b), (0, 0)])
  # Rows of one less than their length: each starts one further to the right.
  x = x.reshape(B, G, b * (j + b), D)[:, :, : b * (j + b - 1)]
  return _sum(x.reshape(B, G, b, j + b - 1, D), axis=2)


def _add_at(x_BGND, start, more):
  old = jax.lax.dynamic_slice_in_dim(x_BGND, start, more.shape[2], 2)
  return jax.lax.dynamic_update_slice_in_dim(x_BGND, old + more, start, 2)


BACKEND = canonical.make(
  forward, backward, lambda *arrays, **static: None, partitionable=True
)
