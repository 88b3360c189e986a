"""Any device: tiles of queries and keys, head after head.

A block of b queries of one head walks over blocks of c keys, from its diagonal
back to the first that is not forgotten, with a softmax that runs on from tile
to tile. The loop ends where the data says, so every head skips what it forgets
itself, and no key is copied for the heads of its group. The backward pass makes
the same tiles again, once, keys by queries: sums over queries are then sums of
rows, which XLA's CPU backend does 10 times as fast as those of columns. Memory
is linear in T: one tile, and copies of the arguments.

Tiles are float32 whatever the inputs are. Letters of local axes: R blocks of
queries of all heads, b queries and c keys of a tile.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.kernels.forgetting_attention import canonical, gates, pruning
from simplex.types import Array

BLOCK_Q = 128
BLOCK_K = 128

_dot = functools.partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class Tiling(NamedTuple):
  """Sizes of the op, of its blocks, and how many blocks there are."""

  T: int
  S: int
  H: int
  G: int
  b: int
  c: int
  M: int
  N: int


class Side(NamedTuple):
  """What decides which pairs meet, and how much a pair has decayed."""

  positions: Array
  high: Array
  low: Array
  segments: Array | None


class Keys(NamedTuple):
  """All keys in memory; a block of queries reads slices of it."""

  k: Array  # `[B G, N c, D]`
  v: Array
  high: Array  # `[B H, N c]`
  low: Array
  segments: Array | None  # `[B, N c]`
  longest: Array  # of each block and all before, `[B G, N]`


def forward(inputs, *, scale, window, online):
  tiling = _tiling(inputs)
  find = functools.partial(
    pruning.first_blocks,
    inputs.high_BHS,
    inputs.low_BHS,
    T=tiling.T,
    window=window,
    block_q=tiling.b,
    block_k=tiling.c,
  )
  lowest_BHM, first_BHM = find(None), find(inputs.threshold_BH)
  last_BHM = _last_blocks(tiling, lowest_BHM)
  keys = _keys(tiling, inputs)
  walk = functools.partial(_walk, tiling, keys, window, online)
  blocks = _queries(tiling, inputs, scale), first_BHM, last_BHM
  out_RbD, lse_Rb, first_R = jax.lax.map(walk, _numbered(blocks))
  first_BHM = first_R.reshape(first_BHM.shape)
  out_BHTD, lse_BHT = (_join(tiling, x) for x in (out_RbD, lse_Rb))
  skipped_BH = pruning.skipped(first_BHM, lowest_BHM, last_BHM)
  return out_BHTD.swapaxes(1, 2), lse_BHT, first_BHM, skipped_BH


def _walk(tiling, keys, window, online, xs):
  """Back from the diagonal: the mean and lse of a block, and where it ended."""
  r, ((q_bD, query), first, last) = xs
  head = r // tiling.M
  lengths_b = pruning.norms(q_bD)
  column = jax.tree.map(lambda x: x[:, None], query)

  def goes_on(carry):
    n, (top_b, total_b, _) = carry
    if not online:
      return n >= first
    lse_b = top_b + jnp.log(total_b)
    gone_b = _forgotten(tiling, keys, head, n, lengths_b, query, lse_b)
    return (n >= first) & ~gone_b.all()

  def visit(carry):
    n, softmax = carry
    k_cD, v_cD, key = _cut(tiling, keys, head, n)
    row = jax.tree.map(lambda x: x[None], key)
    logits_bc = _logits(_dot("bD,cD->bc", q_bD, k_cD), column, row, window)
    return n - 1, _add_tile(softmax, logits_bc, v_cD)

  bare = jnp.full(tiling.b, -jnp.inf), jnp.zeros(tiling.b)
  start = last, (*bare, jnp.zeros(q_bD.shape))
  n, (top_b, total_b, out_bD) = jax.lax.while_loop(goes_on, visit, start)
  some_b = jnp.where(total_b > 0, total_b, 1)
  lse_b = jnp.where(total_b > 0, top_b + jnp.log(some_b), -jnp.inf)
  return out_bD / some_b[:, None], lse_b, n + 1


def _add_tile(softmax, logits_bc, v_cD):
  """Largest logits, sums and sums of values, with those of another tile."""
  top_b, total_b, out_bD = softmax
  new_b = jnp.maximum(top_b, logits_bc.max(-1))
  # Minus infinity until the first key that is seen.
  finite_b = jnp.where(new_b == -jnp.inf, 0, new_b)
  weights_bc = jnp.exp(logits_bc - finite_b[:, None])
  # Made once, or XLA makes it for each of its readers.
  weights_bc = jax.lax.optimization_barrier(weights_bc)
  rescale_b = jnp.exp(top_b - finite_b)
  total_b = total_b * rescale_b + weights_bc.sum(-1)
  out_bD = out_bD * rescale_b[:, None] + _dot("bc,cD->bD", weights_bc, v_cD)
  return new_b, total_b, out_bD


def _forgotten(tiling, keys, head, n, lengths_b, query, lse_b):
  """Which queries need no key of block n or before; see `pruning`."""
  end = jnp.minimum((n + 1) * tiling.c, tiling.S) - 1
  longest = keys.longest[_key_head(tiling, head), n]
  at_end = keys.high[head, end], keys.low[head, end]
  largest_b = lengths_b * longest + gates.decay(query.high, query.low, *at_end)
  gone_b = largest_b + jnp.log(end + 1.0) < lse_b + pruning.LOG_EPSILON
  gone_b |= query.positions >= tiling.S
  return gone_b if query.segments is None else gone_b | (query.segments < 0)


def backward(
  inputs, first_BHM, lse_BHT, delta_BHT, d_out_BTHD, *, scale, window
):
  tiling = _tiling(inputs)
  last_BHM = _last_blocks(tiling, first_BHM)
  softmax = lse_BHT, delta_BHT, d_out_BTHD.swapaxes(1, 2)
  softmax = tuple(_split(tiling, x) for x in softmax)
  queries, keys = _queries(tiling, inputs, scale), _keys(tiling, inputs)
  walk = functools.partial(_walk_again, tiling, keys, window)
  start = tuple(map(jnp.zeros_like, (keys.k, keys.v, keys.high)))
  blocks = (*queries, *softmax), first_BHM, last_BHM
  d_keys, d_q_RbD = jax.lax.scan(walk, start, _numbered(blocks))
  B = inputs.q_BTHD.shape[0]
  d_k_BGSD, d_v_BGSD, columns_BHS = (
    x.reshape(B, -1, *x.shape[1:])[:, :, : tiling.S] for x in d_keys
  )
  d_arrays = scale * _join(tiling, d_q_RbD), d_k_BGSD, d_v_BGSD
  return *(x.swapaxes(1, 2) for x in d_arrays), columns_BHS


def _walk_again(tiling, keys, window, d_keys, xs):
  """Adds what a block of queries gives to the gradients of all keys."""
  r, ((q_bD, query, lse_b, delta_b, d_out_bD), first, last) = xs
  head = r // tiling.M
  row = jax.tree.map(lambda x: x[None], query)

  def visit(n, carry):
    d_q_bD, *d_keys = carry
    k_cD, v_cD, key = _cut(tiling, keys, head, n)
    column = jax.tree.map(lambda x: x[:, None], key)
    logits_cb = _logits(_dot("cD,bD->cb", k_cD, q_bD), row, column, window)
    # Each is read twice or more, as in `_add_tile`.
    once = jax.lax.optimization_barrier
    weights_cb = once(jnp.exp(logits_cb - lse_b))
    d_weights_cb = _dot("cD,bD->cb", v_cD, d_out_bD)
    d_logits_cb = once(weights_cb * (d_weights_cb - delta_b))
    more = (
      _dot("cb,bD->cD", d_logits_cb, q_bD),
      _dot("cb,bD->cD", weights_cb, d_out_bD),
      d_logits_cb.sum(-1),
    )
    heads = *[_key_head(tiling, head)] * 2, head
    d_keys = (
      _add_at(x, (h, n * tiling.c), y)
      for x, h, y in zip(d_keys, heads, more, strict=True)
    )
    return d_q_bD + _dot("cb,cD->bD", d_logits_cb, k_cD), *d_keys

  start = jnp.zeros(q_bD.shape), *d_keys
  d_q_bD, *d_keys = jax.lax.fori_loop(first, last + 1, visit, start)
  return tuple(d_keys), d_q_bD


def _logits(products, query, key, window):
  """Of a tile, either way round; pairs that do not meet have -inf."""
  age = query.positions - key.positions
  seen = (age >= 0) & (age < window)
  if query.segments is not None:
    seen &= query.segments == key.segments
  # Of the pair itself: sums of a row's and a column's cancel at the diagonal.
  decay = gates.decay(query.high, query.low, key.high, key.low)
  return jnp.where(seen, products + decay, -jnp.inf)


def _cut(tiling, keys, head, n):
  """Keys and values of block n, `[c, D]`, and their side, `[c]`."""
  start = n * tiling.c

  def take(x, i):
    rest = x.shape[2:]
    at = i, start, *[0] * len(rest)
    return jax.lax.dynamic_slice(x, at, (1, tiling.c, *rest))[0]

  sums = take(keys.high, head), take(keys.low, head)
  segments = keys.segments
  if segments is not None:
    segments = take(segments, head // tiling.H)
  side = Side(start + jnp.arange(tiling.c), *sums, segments)
  group = _key_head(tiling, head)
  return take(keys.k, group), take(keys.v, group), side


def _add_at(x, start, more):
  start = (*start, *[0] * (x.ndim - 2))
  old = jax.lax.dynamic_slice(x, start, (1, *more.shape))
  return jax.lax.dynamic_update_slice(x, old + more, start)


def _key_head(tiling, head):
  """Of a head counted over the batch."""
  return head // (tiling.H // tiling.G)


def _last_blocks(tiling, like_BHM):
  last_M = pruning.last_blocks(tiling.S, tiling.T, tiling.b, tiling.c)
  return jnp.broadcast_to(last_M, like_BHM.shape)


def _numbered(blocks):
  """What a loop over the blocks of all heads reads, and their numbers."""
  queries, *ends_BHM = blocks
  ends_R = (x.reshape(-1) for x in ends_BHM)
  return jnp.arange(ends_BHM[0].size), (queries, *ends_R)


def _tiling(inputs):
  T, H = inputs.q_BTHD.shape[1:3]
  S, G = inputs.k_BSGD.shape[1:3]
  b, c = min(T, BLOCK_Q), min(S, BLOCK_K)
  return Tiling(T, S, H, G, b, c, -(-T // b), -(-S // c))


def _queries(tiling, inputs, scale):
  """Scaled queries `[R, b, D]`, and their side."""
  B = inputs.q_BTHD.shape[0]
  shape = B, tiling.H, tiling.T
  per_head = lambda x_BT: jnp.broadcast_to(x_BT[:, None], shape)
  last = slice(tiling.S - tiling.T, None)
  split = functools.partial(_split, tiling)
  q_RbD = split(scale * inputs.q_BTHD.astype(jnp.float32).swapaxes(1, 2))
  # Padding is after the last position.
  positions_m = jnp.arange(tiling.M * tiling.b) + tiling.S - tiling.T
  positions_Rb = jnp.tile(
    positions_m.reshape(tiling.M, tiling.b), (B * tiling.H, 1)
  )
  segments_Rb = None
  if inputs.segments_BT is not None:
    segments_Rb = split(per_head(inputs.segments_BT))
  sums = (split(x[..., last], "edge") for x in inputs[3:5])
  return q_RbD, Side(positions_Rb, *sums, segments_Rb)


def _keys(tiling, inputs):
  """Keys, values and sums of gates by head, padded to whole blocks."""

  def lay(x, mode="constant"):
    more = tiling.N * tiling.c - tiling.S
    pads = [(0, 0), (0, more), (0, 0)][: x.ndim]
    return jnp.pad(x, pads, mode)

  by_head = lambda x: x.reshape(-1, *x.shape[2:])
  k, v = (
    lay(by_head(x.astype(jnp.float32).swapaxes(1, 2)))
    for x in (inputs.k_BSGD, inputs.v_BSGD)
  )
  high, low = (lay(by_head(x), "edge") for x in inputs[3:5])
  segments = inputs.segments_BS
  segments = None if segments is None else lay(segments)
  longest = by_head(pruning.largest_keys(inputs.k_BSGD, tiling.c))
  return Keys(k, v, high, low, segments, longest)


def _split(tiling, x_BHT_, mode="constant"):
  """`[B, H, T, ...]` in blocks, `[R, b, ...]`."""
  B, H, T, *rest = x_BHT_.shape
  pads = [(0, 0)] * x_BHT_.ndim
  pads[2] = (0, tiling.M * tiling.b - T)
  return jnp.pad(x_BHT_, pads, mode).reshape(-1, tiling.b, *rest)


def _join(tiling, x_Rb_):
  """`[R, b, ...]` back to `[B, H, T, ...]`."""
  rest = x_Rb_.shape[2:]
  x = x_Rb_.reshape(-1, tiling.H, tiling.M * tiling.b, *rest)
  return x[:, :, : tiling.T]


# Not partitionable: a mapped axis is folded into the batch, since loops that
# run in lockstep skip what all of them skip; and each shard loops over its own.
BACKEND = canonical.make(forward, backward, lambda *arrays, **static: None)
