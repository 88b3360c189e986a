"""Forgetting attention for TPU, in Pallas.

A kernel owns one block of queries or of keys for each step of its grid. Blocks
of the other side stay in HBM and are copied by a loop within the kernel, two in
turn, so that a block that is left out is neither computed, nor copied, nor a
step of the grid. Forward and dq walk back from the diagonal to the first block;
with "online" the forward pass may stop before, and then one block was copied in
vain. dk and dv walk the blocks of queries that a list names. The price: nothing
is computed while the first block of each walk is copied.

The order of every sum is fixed.
"""

import functools
from typing import NamedTuple

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from simplex.kernels import tpu
from simplex.kernels.forgetting_attention import (
  canonical,
  gates,
  pruning,
  tpu_layout,
  tpu_tiles,
)

OWN_QUERIES = ("parallel", "parallel", "arbitrary")
# Heads of a group add to the gradients of one key head.
OWN_KEYS = ("parallel", "parallel", "parallel", "arbitrary")


def forward(inputs, *, scale, window, online):
  cfg = tpu_layout.configure(inputs, scale=scale, window=window)
  first_BHM, lowest_BHM = tpu_layout.first_and_lowest(cfg, inputs)
  bounds, ends = (), ()
  if online:
    norms_BHT = pruning.norms(inputs.q_BTHD).swapaxes(1, 2)
    bounds = (abs(scale) * norms_BHT,)
    ends = tpu_layout.ends(cfg, inputs)
  queries = tpu_layout.queries(cfg, inputs, 0, *bounds)
  keys = tpu_layout.keys(cfg, inputs, 1)
  q_BHTD, rows = queries.x, cfg.block_q
  out_BHTD, lse_BHT1, first_BH1M = _own_queries(
    _forward_kernel,
    cfg,
    (first_BHM[:, :, None], ends),
    queries,
    keys,
    outs=(
      jax.ShapeDtypeStruct(q_BHTD.shape, jnp.float32),
      jax.ShapeDtypeStruct((*q_BHTD.shape[:3], 1), jnp.float32),
    ),
    counts=(jax.ShapeDtypeStruct(first_BHM[:, :, None].shape, jnp.int32),),
    scratch=((rows, 1), (rows, 1), (rows, q_BHTD.shape[-1])),
  )
  first_BHM = first_BH1M[:, :, 0]
  skipped_BH = pruning.skipped(
    first_BHM, lowest_BHM, tpu_layout.last_blocks(cfg)
  )
  out_BTHD = tpu_layout.unpack(out_BHTD, inputs.q_BTHD)
  return out_BTHD, lse_BHT1[:, :, : cfg.T, 0], first_BHM, skipped_BH


def backward(
  inputs, first_BHM, lse_BHT, delta_BHT, d_out_BTHD, *, scale, window
):
  cfg = tpu_layout.configure(inputs, scale=scale, window=window)
  queries = functools.partial(
    tpu_layout.queries, cfg, inputs, d_out_BTHD=d_out_BTHD
  )
  keys = functools.partial(tpu_layout.keys, cfg, inputs)
  columns = queries(0, lse_BHT, delta_BHT)
  (d_q_BHTD,) = _own_queries(
    _query_kernel,
    cfg,
    (first_BHM[:, :, None],),
    columns,
    keys(1),
    outs=(jax.ShapeDtypeStruct(columns.x.shape, jnp.float32),),
  )
  d_k_BGSD, d_v_BGSD, sums_BHS1 = _own_keys(
    cfg,
    tpu_layout.visitors(cfg, first_BHM),
    queries(1, lse_BHT, delta_BHT),
    keys(0),
  )
  return (
    scale * tpu_layout.unpack(d_q_BHTD, inputs.q_BTHD),
    scale * tpu_layout.unpack(d_k_BGSD, inputs.k_BSGD),
    tpu_layout.unpack(d_v_BGSD, inputs.v_BSGD),
    sums_BHS1[:, :, : cfg.S, 0],
  )


class _Softmax(NamedTuple):
  """The state of a softmax over blocks of keys, in VMEM.

  Attributes:
    peak: the largest logit that each row has seen.
    total: its sum of `exp(logit - peak)`.
    values: its sum of values with these weights.
  """

  peak: jax.Array
  total: jax.Array
  values: jax.Array

  def lse(self):
    total_x1 = self.total[...]
    lse_x1 = self.peak[...] + jnp.log(jnp.where(total_x1 > 0, total_x1, 1.0))
    return jnp.where(total_x1 > 0, lse_x1, -jnp.inf)


def _forward_kernel(cfg, steering, queries, keys, outs, counts, state, room):
  """Softmax with a running maximum, from the diagonal back to the first block.

  Where `steering` has ends of blocks, the walk stops before the first block
  that is forgotten; the first that was visited is written down.
  """
  first_ref, ends_ref = steering
  (out_ref, lse_ref), (visited_ref,) = outs, counts
  state = _Softmax(*state)
  m, last, place = _walk_back(cfg)
  state.peak[...] = jnp.full(state.peak.shape, tpu.LOWEST, jnp.float32)
  state.total[...] = jnp.zeros(state.total.shape, jnp.float32)
  state.values[...] = jnp.zeros(state.values.shape, jnp.float32)
  q = _places_of_queries(cfg, queries, m, 0)

  def block(step, keys):
    n = last - step
    k = tpu_tiles.places(keys, n * cfg.block_k, 1)
    s_xy = tpu_tiles.scores(cfg, queries.x[...], keys.x[...], q, k)
    _softmax_step(state, s_xy, keys)
    if isinstance(ends_ref, tuple):
      return 0
    return _is_forgotten(cfg, ends_ref, queries, q, state, n - 1)

  number = last - first_ref[0, m] + 1
  stream = tpu_tiles.Stream(keys, *room)
  steps = tpu_tiles.for_each_block(cfg, stream, place, number, block)
  visited_ref[0, m] = last - steps + 1
  total_x1 = state.total[...]
  out_ref[...] = state.values[...] / jnp.where(total_x1 > 0, total_x1, 1.0)
  lse_ref[...] = state.lse()


def _softmax_step(state, s_xy, keys):
  m_old_x1 = state.peak[...]
  m_x1 = jnp.maximum(m_old_x1, jnp.max(s_xy, axis=1, keepdims=True))
  keep_x1 = jnp.exp(m_old_x1 - m_x1)
  p_xy = jnp.exp(s_xy - m_x1)
  sum_x1 = jnp.sum(p_xy, axis=1, keepdims=True)
  state.peak[...] = m_x1
  state.total[...] = state.total[...] * keep_x1 + sum_x1
  pv_xD = tpu.dot(p_xy, keys.y[...], (1, 0))
  state.values[...] = state.values[...] * keep_x1 + pv_xD


def _is_forgotten(cfg, ends_ref, queries, q, state, n):
  """Whether no row of the block needs block n of keys; see `pruning`."""
  n = jnp.maximum(n, 0)
  largest, log_number, high, low = (ends_ref[i, n] for i in range(4))
  bound_x1 = tpu_tiles.vector(queries, 2, 0) * largest
  bound_x1 += gates.decay(q.high, q.low, high, low) + log_number
  real_x1 = q.position < cfg.S
  if not isinstance(q.segment, tuple):
    real_x1 &= q.segment >= 0
  margin_x1 = jnp.where(real_x1, bound_x1 - state.lse(), tpu.LOWEST)
  return (jnp.max(margin_x1) < pruning.LOG_EPSILON).astype(jnp.int32)


def _query_kernel(cfg, steering, queries, keys, outs, counts, state, room):
  """d_q_i = sum_j dS_ij k_j, without the factor `scale`."""
  del counts, state
  (first_ref,), (d_q_ref,) = steering, outs
  m, last, place = _walk_back(cfg)
  d_q_ref[...] = jnp.zeros(d_q_ref.shape, jnp.float32)
  q = _places_of_queries(cfg, queries, m, 0)

  def block(step, keys):
    k = tpu_tiles.places(keys, (last - step) * cfg.block_k, 1)
    s_xy = tpu_tiles.scores(cfg, queries.x[...], keys.x[...], q, k)
    _, d_s_xy = _gradients(s_xy, queries, queries.y[...], keys.y[...], 0)
    d_q_ref[...] += tpu.dot(d_s_xy, keys.x[...], (1, 0))
    return 0

  number = last - first_ref[0, m] + 1
  stream = tpu_tiles.Stream(keys, *room)
  tpu_tiles.for_each_block(cfg, stream, place, number, block)


def _key_kernel(
  cfg, visitors_ref, queries, keys, d_k_ref, d_v_ref, sums_ref, *room
):
  """d_k_j = sum_i dS_ij q_i, d_v_j = sum_i P_ij d_out_i, and sum_i dS_ij."""
  b, g, n, r = (pl.program_id(i) for i in range(4))
  h = g * (cfg.H // cfg.G) + r

  @pl.when(r == 0)
  def _():
    d_k_ref[...] = jnp.zeros(d_k_ref.shape, jnp.float32)
    d_v_ref[...] = jnp.zeros(d_v_ref.shape, jnp.float32)

  sums_ref[...] = jnp.zeros(sums_ref.shape, jnp.float32)
  k = tpu_tiles.places(keys, n * cfg.block_k, 0)

  def block(step, queries):
    q = _places_of_queries(cfg, queries, visitors_ref[0, step + 1], 1)
    s_xy = tpu_tiles.scores(cfg, keys.x[...], queries.x[...], q, k)
    p_xy, d_s_xy = _gradients(s_xy, queries, keys.y[...], queries.y[...], 1)
    d_k_ref[...] += tpu.dot(d_s_xy, queries.x[...], (1, 0))
    d_v_ref[...] += tpu.dot(p_xy, queries.y[...], (1, 0))
    sums_ref[...] += jnp.sum(d_s_xy, axis=1, keepdims=True)
    return 0

  place = lambda step: (b, h, visitors_ref[0, step + 1])
  stream = tpu_tiles.Stream(queries, *room)
  tpu_tiles.for_each_block(cfg, stream, place, visitors_ref[0, 0], block)


def _gradients(s_xy, queries, x, y, axis):
  """P and dS = P (dP - delta); x and y are d_out and v, or v and d_out."""
  lse, delta = (tpu_tiles.vector(queries, i, axis) for i in (2, 3))
  p_xy = jnp.exp(s_xy - lse)
  return p_xy, p_xy * (tpu.dot(x, y, (1, 1)) - delta)


def _walk_back(cfg):
  """The step's block of queries, its last of keys, and where a walk is."""
  b, h, m = (pl.program_id(i) for i in range(3))
  end = jnp.minimum((m + 1) * cfg.block_q, cfg.T)
  last = jax.lax.div(cfg.S - cfg.T + end - 1, jnp.int32(cfg.block_k))
  return m, last, lambda step: (b, h, last - step)


def _places_of_queries(cfg, queries, m, axis):
  return tpu_tiles.places(queries, cfg.S - cfg.T + m * cfg.block_q, axis)


def _own_queries(
  kernel, cfg, steering, queries, keys, *, outs, counts=(), scratch=()
):
  """Calls a kernel for each block of queries, past which keys are copied.

  Args:
    kernel: its function.
    cfg: of the call.
    steering: numbers of each head, in SMEM.
    queries: of the first axis of tiles.
    keys: of the second.
    outs: shapes of results, in blocks of queries.
    counts: shapes of results that are one number for each block of queries.
    scratch: shapes of float32 in VMEM.
  """
  B, M = queries.x.shape[0], queries.x.shape[2] // cfg.block_q
  place = lambda b, h, m: (b, h, m)
  owned = lambda x: tpu_layout.owned(cfg, x, cfg.block_q, place)
  scalars = lambda x: tpu_layout.scalars(x, place)
  results = pl.pallas_call(
    functools.partial(kernel, cfg),
    grid=(B, cfg.H, M),
    in_specs=[
      jax.tree.map(scalars, steering),
      jax.tree.map(owned, queries),
      jax.tree.map(lambda _: pl.BlockSpec(memory_space=pl.ANY), keys),
    ],
    out_specs=[jax.tree.map(owned, outs), jax.tree.map(scalars, counts)],
    out_shape=[outs, counts],
    scratch_shapes=[
      tuple(pltpu.VMEM(shape, jnp.float32) for shape in scratch),
      tpu_tiles.stream_scratch(keys, cfg.block_k),
    ],
    compiler_params=_params(OWN_QUERIES),
    name=kernel.__name__.strip("_"),
  )(steering, queries, keys)
  return sum(results, ())


def _own_keys(cfg, visitors, queries, keys):
  """Calls the kernel of each block of keys, past which queries are copied."""
  B, N = keys.x.shape[0], keys.x.shape[2] // cfg.block_k
  R = cfg.H // cfg.G
  place = lambda b, g, n, r: (b, g * R + r, n)
  owned = lambda x: tpu_layout.owned(cfg, x, cfg.block_k, place)
  outs = (
    *(jax.ShapeDtypeStruct(keys.x.shape, jnp.float32),) * 2,
    jax.ShapeDtypeStruct((*keys.vectors.shape[:3], 1), jnp.float32),
  )
  return pl.pallas_call(
    functools.partial(_key_kernel, cfg),
    grid=(B, cfg.G, N, R),
    in_specs=[
      tpu_layout.scalars(visitors, place),
      jax.tree.map(lambda _: pl.BlockSpec(memory_space=pl.ANY), queries),
      jax.tree.map(owned, keys),
    ],
    out_specs=jax.tree.map(owned, outs),
    out_shape=outs,
    scratch_shapes=tpu_tiles.stream_scratch(queries, cfg.block_q),
    compiler_params=_params(OWN_KEYS),
    name="key_kernel",
  )(visitors, queries, keys)


def _params(semantics):
  return pltpu.CompilerParams(
    dimension_semantics=semantics, vmem_limit_bytes=tpu.VMEM_LIMIT
  )


BACKEND = canonical.make(forward, backward, tpu.unsupported)
