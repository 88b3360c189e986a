"""2-simplicial attention for TPU, in Pallas.

For a tile of rows x (a query and a head each) and of short keys j, the rows
`a_jx = q_x k1_j` are made in float32 on the VPU and rounded once; one product
of matrices then gives the logits of all (j, x) with a tile of second keys r.
`tpu_blocks` says what is a row, a tile and a block.

The backward pass is two kernels. One owns short keys: rows and second keys
pass by while it sums d_k1 and d_v1 in VMEM; d_q it writes once for each block
of short keys that a row meets, and XLA adds these few. The other owns second
keys and sums d_k2 and d_v2. The order of every sum is fixed. Gradients of
scores leave the kernels without the factor `scale`.
"""

import functools
from typing import NamedTuple

import jax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from simplex.kernels import tpu
from simplex.kernels.simplicial_attention import (
  canonical,
  tpu_blocks,
  tpu_layout,
  tpu_tiles,
)

# Batch and owners may go to different cores; what one owner meets is a sum.
SEMANTICS = ("parallel", "parallel", "arbitrary", "arbitrary")


def forward(q_BTHC, *arrays, **static):
  cfg, refs = tpu_layout.prepare(q_BTHC, *arrays, **static)
  D, rows, f32 = cfg.width, cfg.plan.block, jnp.float32
  product_rows = cfg.plan.tile * cfg.plan.short.tile
  out_NXD, lse_NX1 = _run(
    _forward_kernel,
    cfg,
    "rows",
    refs,
    outs=(("rows", D, f32), ("rows", 1, f32)),
    scratch=((rows, 1), (rows, 1), (rows, D), (product_rows, D)),
  )
  out_BTHD = tpu_layout.unpack_rows(out_NXD, q_BTHC)
  width = arrays[1].shape[-1]
  return out_BTHD[..., :width], tpu_layout.unpack_rows(lse_NX1, q_BTHC)[..., 0]


def backward(*arrays, **static):
  *arrays, lse_BTH, delta_BTH, d_out_BTHD = arrays
  cfg, refs = tpu_layout.prepare(*arrays, **static)
  refs = tpu_layout.add_gradients(cfg, refs, lse_BTH, delta_BTH, d_out_BTHD)
  C, D, f32 = cfg.terms * cfg.width, cfg.width, jnp.float32
  product_rows = cfg.plan.tile * cfg.plan.short.tile
  d_q, d_k1, d_v1 = _run(
    _short_kernel,
    cfg,
    "short",
    refs,
    outs=(("parts", C, f32), ("short", C, f32), ("short", D, f32)),
    scratch=((product_rows, D),) * 2 + ((product_rows, 1),),
  )
  d_k2, d_v2 = _run(
    _long_kernel,
    cfg,
    "long",
    refs,
    outs=(("long", D, f32), ("long", D, f32)),
    scratch=(),
  )
  q, *keys = arrays[:5]
  width = keys[1].shape[-1]
  d_q = tpu_layout.unpack_rows(tpu_layout.sum_parts(cfg.plan, d_q), q)
  axes = (cfg.plan.short,) * 2 + (cfg.plan.long,) * 2
  unpack = map(tpu_layout.unpack_keys, (d_k1, d_v1, d_k2, d_v2), axes, keys)
  d_q, d_k1, d_v1, d_k2, d_v2 = (
    tpu_layout.narrow(cfg, x, width) for x in (d_q, *unpack)
  )
  scale = cfg.scale
  return scale * d_q, scale * d_k1, d_v1, scale * d_k2, d_v2


class _Softmax(NamedTuple):
  """The state of a softmax over tiles of keys, in VMEM.

  Attributes:
    peak: m, the largest logit that each row of the block has seen.
    total: its sum of `exp(logit - m)`.
    values: its sum of values with these weights.
    pv: for a tile of rows and short keys, `sum_r p_jxr v2_r`.
  """

  peak: jax.Array
  total: jax.Array
  values: jax.Array
  pv: jax.Array


def _forward_kernel(cfg, refs, out_ref, lse_ref, *state):
  """Softmax over both loops with one running maximum for each row.

  Values of short keys are applied after the loop over second keys:
  `out_x = sum_j v1_j * (sum_r p_jxr v2_r)`.
  """
  here = tpu_blocks.visit(cfg.plan, "rows", _ids())
  state = _Softmax(*state)
  is_last = pl.program_id(2) == pl.num_programs(2) - 1
  is_last &= pl.program_id(3) == pl.num_programs(3) - 1

  @pl.when(_is_first_met())
  def _():
    state.peak[...] = jnp.full(state.peak.shape, tpu.LOWEST, jnp.float32)
    _clear(state.total, state.values)

  def row_and_short(x, j):
    a_mD, bias_jx1 = tpu_tiles.make_rows(cfg, refs, x, j)
    step = functools.partial(_softmax_step, cfg, refs, state, a_mD, bias_jx1)
    m_start_x1 = state.peak[x.at, :]
    _clear(state.pv)
    _for_long_tiles(cfg, here, x, lambda r: step(x, r))
    pv_jxD = tpu_tiles.by_key(cfg, state.pv[...])
    out_xD = jnp.sum(pv_jxD * refs.v1[j.at, :][:, None], axis=0)
    keep_x1 = jnp.exp(m_start_x1 - state.peak[x.at, :])
    state.values[x.at, :] = state.values[x.at, :] * keep_x1 + out_xD

  _for_row_and_short_tiles(cfg, here, (0, cfg.plan.rows - 1), row_and_short)

  @pl.when(is_last)
  def _():
    sees_X1 = state.total[...] > 0
    l_X1 = jnp.where(sees_X1, state.total[...], 1.0)
    out_ref[...] = state.values[...] / l_X1
    lse_X1 = state.peak[...] + jnp.log(l_X1)
    lse_ref[...] = jnp.where(sees_X1, lse_X1, -jnp.inf)


def _softmax_step(cfg, refs, state, a_mD, bias_jx1, x, r):
  """Adds the pairs of a tile of short and one of second keys."""
  s_jxr = tpu_tiles.scores(cfg, refs, a_mD, bias_jx1, x, r)
  # Over short keys first: that needs no exchange between lanes.
  m_xr = jnp.max(s_jxr, axis=0)
  m_old_x1 = state.peak[x.at, :]
  m_x1 = jnp.maximum(m_old_x1, jnp.max(m_xr, axis=-1, keepdims=True))
  keep_x1 = jnp.exp(m_old_x1 - m_x1)
  p_jxr = jnp.exp(s_jxr - m_x1)
  sum_x1 = jnp.sum(jnp.sum(p_jxr, axis=0), axis=-1, keepdims=True)
  state.peak[x.at, :] = m_x1
  state.total[x.at, :] = state.total[x.at, :] * keep_x1 + sum_x1
  kept_jxD = tpu_tiles.by_key(cfg, state.pv[...]) * keep_x1
  pv_mD = tpu.dot(tpu_tiles.flat(p_jxr), refs.v2[r.at, :], (1, 0))
  state.pv[...] = tpu_tiles.flat(kept_jxD) + pv_mD


class _RowSums(NamedTuple):
  """Sums over second keys for a tile of rows and short keys, in VMEM.

  Attributes:
    d_a: `sum_r d_s_jxr k2_r`, gradients of rows a.
    pv: `sum_r p_jxr v2_r`.
    d_b: `sum_r d_s_jxr`, gradients of biases.
  """

  d_a: jax.Array
  pv: jax.Array
  d_b: jax.Array


def _short_kernel(cfg, refs, d_q_ref, d_k1_ref, d_v1_ref, *sums):
  """d_k1 and d_v1 of a block of short keys, and its part of d_q."""
  plan = cfg.plan
  here = tpu_blocks.visit(plan, "short", _ids())
  sums = _RowSums(*sums)

  @pl.when(_is_first_met())
  def _():
    _clear(d_k1_ref, d_v1_ref)

  # A step left over still holds the last block of rows, already summed.
  last_rows = tpu_blocks.visit(plan, "short", _ids(), inside=True).rows

  @pl.when((here.rows == last_rows) & (pl.program_id(3) == 0))
  def _():
    _clear(d_q_ref)

  def row_and_short(x, j):
    a_mD, bias_jx1 = tpu_tiles.make_rows(cfg, refs, x, j)
    b_mD = tpu_tiles.make_value_rows(refs, x, j)
    _clear(*sums)

    def long(r):
      p_mr, d_s_mr = tpu_tiles.score_grads(
        cfg, refs, a_mD, bias_jx1, b_mD, x, r
      )
      sums.d_a[...] += tpu.dot(d_s_mr, refs.k2[r.at, :], (1, 0))
      sums.pv[...] += tpu.dot(p_mr, refs.v2[r.at, :], (1, 0))
      if cfg.product == "plus":
        sums.d_b[...] += jnp.sum(d_s_mr, axis=-1, keepdims=True)

    _for_long_tiles(cfg, here, x, long)
    _split_products(cfg, refs, sums, d_q_ref, d_k1_ref, d_v1_ref, x, j)

  start = here.short * plan.short.block
  rows = tpu_blocks.seeing_rows(plan, plan.short, start, plan.short.block)
  _for_row_and_short_tiles(cfg, here, rows, row_and_short)


def _split_products(cfg, refs, sums, d_q_ref, d_k1_ref, d_v1_ref, x, j):
  """Adds to the gradients of both factors of each product of x and j.

  d_q_x = sum_j d_a_jx k1_j    d_k1_j = sum_x d_a_jx q_x
                               d_v1_j = sum_x pv_jx d_out_x
  """
  d_a_jxD, pv_jxD, d_b_jx1 = (tpu_tiles.by_key(cfg, ref[...]) for ref in sums)
  d_out_xD = refs.d_out[x.at, :].astype(jnp.float32)
  d_v1_ref[j.at, :] += jnp.sum(pv_jxD * d_out_xD, axis=1)
  for part in tpu_tiles.parts(cfg):
    q_xD = refs.q[x.at, part].astype(jnp.float32)
    k1_j1D = refs.k1[j.at, part][:, None]
    if cfg.product == "plus":
      d_q_jxD = d_a_jxD + d_b_jx1 * k1_j1D
      d_k1_jxD = d_a_jxD + d_b_jx1 * q_xD
    else:
      d_q_jxD, d_k1_jxD = d_a_jxD * k1_j1D, d_a_jxD * q_xD
    d_q_ref[x.at, part] += jnp.sum(d_q_jxD, axis=0)
    d_k1_ref[j.at, part] += jnp.sum(d_k1_jxD, axis=1)


def _long_kernel(cfg, refs, d_k2_ref, d_v2_ref):
  """d_k2_r = sum_jx d_s_jxr a_jx and d_v2_r = sum_jx p_jxr (v1_j d_out_x)."""
  plan = cfg.plan
  here = tpu_blocks.visit(plan, "long", _ids())

  @pl.when(_is_first_met())
  def _():
    _clear(d_k2_ref, d_v2_ref)

  def row_and_short(x, j):
    a_mD, bias_jx1 = tpu_tiles.make_rows(cfg, refs, x, j)
    b_mD = tpu_tiles.make_value_rows(refs, x, j)

    def long(r):
      p_mr, d_s_mr = tpu_tiles.score_grads(
        cfg, refs, a_mD, bias_jx1, b_mD, x, r
      )
      d_k2_ref[r.at, :] += tpu.dot(d_s_mr, a_mD, (0, 0))
      d_v2_ref[r.at, :] += tpu.dot(p_mr, b_mD, (0, 0))

    _for_long_tiles(cfg, here, x, long)

  start = here.long * plan.long.block
  rows = tpu_blocks.seeing_rows(plan, plan.long, start, plan.long.block)
  _for_row_and_short_tiles(cfg, here, rows, row_and_short)


def _is_first_met():
  """The first of the steps that sum into the blocks of one owner."""
  return (pl.program_id(2) == 0) & (pl.program_id(3) == 0)


def _clear(*refs):
  for ref in refs:
    ref[...] = jnp.zeros(ref.shape, ref.dtype)


def _ids():
  return tuple(pl.program_id(axis) for axis in (1, 2, 3))


def _for_row_and_short_tiles(cfg, here, rows, body):
  """Calls body for the tiles of this step that hold some of `rows`."""
  plan, axis = cfg.plan, cfg.plan.short

  def row_tile(x):
    keys = tpu_blocks.seen_keys(plan, axis, x.first, plan.tile)
    _for_key_tiles(axis, keys, here.short, lambda j: body(x, j))

  base = here.rows * plan.block
  bounds = tpu_blocks.tiles(rows, plan.rows, base, plan.tile, plan.block)
  tpu_tiles.for_each_tile(bounds, here.rows, plan.block, plan.tile, row_tile)


def _for_long_tiles(cfg, here, x, body):
  """Calls body for the tiles of second keys that the rows x see."""
  axis = cfg.plan.long
  keys = tpu_blocks.seen_keys(cfg.plan, axis, x.first, cfg.plan.tile)
  _for_key_tiles(axis, keys, here.long, body)


def _for_key_tiles(axis, keys, block, body):
  base = block * axis.block
  bounds = tpu_blocks.tiles(keys, axis.length, base, axis.tile, axis.block)
  tpu_tiles.for_each_tile(bounds, block, axis.block, axis.tile, body)


def _run(kernel, cfg, owner, refs, *, outs, scratch):
  """Calls a kernel on the grid of its owner; see `tpu_blocks.grid`."""
  plan = cfg.plan
  N = refs.q.shape[0]
  return pl.pallas_call(
    functools.partial(kernel, cfg),
    grid=(N, *tpu_blocks.grid(plan, owner)),
    in_specs=[tpu_layout.input_specs(plan, owner, refs)],
    out_specs=[
      tpu_layout.spec(plan, owner, axis, width) for axis, width, _ in outs
    ],
    out_shape=[
      jax.ShapeDtypeStruct(tpu_layout.shape(plan, N, axis, width), dtype)
      for axis, width, dtype in outs
    ],
    scratch_shapes=[pltpu.VMEM(shape, jnp.float32) for shape in scratch],
    compiler_params=pltpu.CompilerParams(
      dimension_semantics=SEMANTICS,
      vmem_limit_bytes=tpu.VMEM_LIMIT,
    ),
    name=kernel.__name__.strip("_"),
  )(refs)


BACKEND = canonical.make(forward, backward, tpu.unsupported)
