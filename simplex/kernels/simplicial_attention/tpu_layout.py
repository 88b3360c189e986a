"""How arrays of the op lie in memory for the TPU kernels, and back.

Batch and key heads are one axis N; queries and the heads of a group are rows X,
the head fastest; widths are filled up to the lanes of a register, each term of
q and k1 for itself.
"""

import math

from jax.experimental import pallas as pl
import jax.numpy as jnp

from simplex.kernels import tpu
from simplex.kernels.simplicial_attention import tpu_blocks
from simplex.kernels.simplicial_attention.tpu_tiles import Config, Inputs
from simplex.types import Array


def prepare(*arrays, product, scale, spans) -> tuple[Config, Inputs]:
  """Plans a call, and lays out its arrays.

  Keys that no query sees, before the first window, are left out.
  """
  q_BTHC, k1_BSGC, v1_BSGD, k2_BRGD, v2_BRGD, *segments = arrays
  T, H, C = q_BTHC.shape[1:]
  G, D = v1_BSGD.shape[2:]
  lengths = [
    min(x.shape[1], T + span[0])
    for x, span in zip((k1_BSGC, k2_BRGD), spans, strict=True)
  ]
  width = tpu.round_up(D, tpu.LANES)
  terms = C // D
  plan = tpu_blocks.make_plan(
    T, H // G, lengths, spans, width, terms, q_BTHC.dtype.itemsize
  )
  cfg = Config(plan, product, scale, terms, width)
  keys = lambda x, axis: _pack_keys(_widen(x, D, width), axis)
  f32 = jnp.float32
  return cfg, Inputs(
    q=_pack_rows(plan, _widen(q_BTHC, D, width), G),
    k1=keys(k1_BSGC.astype(f32), plan.short),
    v1=keys(v1_BSGD.astype(f32), plan.short),
    k2=keys(k2_BRGD, plan.long),
    v2=keys(v2_BRGD, plan.long),
    segments=_pack_segments(plan, segments),
  )


def add_gradients(cfg, refs, lse_BTH, delta_BTH, d_out_BTHD) -> Inputs:
  """Adds what only the backward pass reads."""
  G = refs.q.shape[0] // d_out_BTHD.shape[0]
  stats_BTH2 = jnp.stack([lse_BTH, delta_BTH], axis=-1)
  d_out_BTHD = _widen(d_out_BTHD, d_out_BTHD.shape[-1], cfg.width)
  return refs._replace(
    d_out=_pack_rows(cfg.plan, d_out_BTHD, G),
    stats=_pack_rows(cfg.plan, stats_BTH2, G, fill=tpu.NO_ROW),
  )


def unpack_rows(x_NXC: Array, like_BTHC: Array) -> Array:
  """Rows as queries and heads again, `[B, T, H, ...]`."""
  B, T, H = like_BTHC.shape[:3]
  G = x_NXC.shape[0] // B
  x_BGTNC = x_NXC[:, : T * H // G].reshape(B, G, T, H // G, -1)
  return x_BGTNC.swapaxes(1, 2).reshape(B, T, H, -1)


def sum_parts(plan, d_q_NPXC: Array) -> Array:
  """The sum of the parts of d_q that were written."""
  written_PX = jnp.repeat(tpu_blocks.parts(plan), plan.block, axis=1)
  return jnp.where(written_PX[..., None], d_q_NPXC, 0).sum(1)


def unpack_keys(x_NSC: Array, axis, like_BSGC: Array) -> Array:
  """Keys and their heads again; zeros for those that were left out."""
  B, S, G = like_BSGC.shape[:3]
  x_BGSC = x_NSC[:, : axis.length].reshape(B, G, axis.length, -1)
  left_out = ((0, 0), (S - axis.length, 0), (0, 0), (0, 0))
  return jnp.pad(x_BGSC.swapaxes(1, 2), left_out)


def narrow(cfg: Config, x: Array, D: int) -> Array:
  """Without what `prepare` filled each term up with."""
  x = x.reshape(*x.shape[:-1], -1, cfg.width)[..., :D]
  return x.reshape(*x.shape[:-2], -1)


def shape(plan, N: int, axis: str, width: int) -> tuple[int, ...]:
  """Of an output along an axis: rows, short, long, or parts of d_q."""
  if axis == "parts":
    parts = tpu_blocks.parts(plan).shape[0]
    return (N, parts, *shape(plan, N, "rows", width)[1:])
  length, block = tpu_blocks.sizes(plan, axis)
  return (N, tpu.round_up(length, block), width)


def spec(plan, owner: str, axis: str, width: int) -> pl.BlockSpec:
  """Which block a step of the owner's grid holds of an axis."""

  def here(*ids):
    return tpu_blocks.visit(plan, owner, ids, inside=True)

  if axis == "parts":

    def part(n, *ids):
      place = here(*ids)
      start = place.rows * plan.block
      keys = tpu_blocks.seen_keys(plan, plan.short, start, plan.block)
      first, _ = tpu_blocks.blocks(keys, plan.short.block, plan.short.length)
      return n, place.short - first, place.rows, 0

    return pl.BlockSpec((None, None, plan.block, width), part)
  _, block = tpu_blocks.sizes(plan, axis)
  index = lambda n, *ids: (n, getattr(here(*ids), axis), 0)
  return pl.BlockSpec((None, block, width), index)


def input_specs(plan, owner: str, refs: Inputs) -> Inputs:
  """The blocks of the inputs of a kernel."""
  like = lambda axis, x: spec(plan, owner, axis, x.shape[-1])
  gradients = {
    name: like("rows", getattr(refs, name))
    for name in ("d_out", "stats")
    if not isinstance(getattr(refs, name), tuple)
  }
  return Inputs(
    q=like("rows", refs.q),
    k1=like("short", refs.k1),
    v1=like("short", refs.v1),
    k2=like("long", refs.k2),
    v2=like("long", refs.v2),
    segments=_segment_specs(plan, owner, refs),
    **gradients,
  )


def _segment_specs(plan, owner, refs):
  """Key heads of one batch entry share its segments."""
  if not refs.segments:
    return ()
  G = refs.q.shape[0] // refs.segments[0].shape[0]

  def index(axis, is_row):
    def at(n, *ids):
      block = getattr(tpu_blocks.visit(plan, owner, ids, inside=True), axis)
      batch = tpu_blocks.divide(n, G)
      return (batch, 0, block) if is_row else (batch, block, 0)

    return at

  return (
    pl.BlockSpec((None, plan.block, 1), index("rows", False)),
    pl.BlockSpec((None, plan.short.block, 1), index("short", False)),
    pl.BlockSpec((None, 1, plan.long.block), index("long", True)),
  )


def _pack_segments(plan, segments):
  if segments[0] is None:
    return ()
  T_BT, S_BS, R_BR = (x.astype(jnp.int32) for x in segments)
  rows_BX1 = jnp.repeat(T_BT, plan.heads, axis=1)[..., None]
  last = lambda x, axis: x[:, x.shape[1] - axis.length :, None]
  return (
    _fill(rows_BX1, plan.block),
    _fill(last(S_BS, plan.short), plan.short.block),
    _fill(last(R_BR, plan.long), plan.long.block).swapaxes(1, 2),
  )


def _pack_rows(plan, x_BTHC, G, fill=0):
  B, T, H, C = x_BTHC.shape
  x_BTGnC = x_BTHC.reshape(B, T, G, H // G, C)
  x_NXC = x_BTGnC.swapaxes(1, 2).reshape(B * G, T * H // G, C)
  return _fill(x_NXC, plan.block, fill)


def _pack_keys(x_BSGC, axis):
  B, S, G, C = x_BSGC.shape
  x_BSGC = x_BSGC[:, S - axis.length :]
  x_NSC = x_BSGC.swapaxes(1, 2).reshape(B * G, axis.length, C)
  return _fill(x_NSC, axis.block)


def _fill(x_NXC, block, fill=0):
  """Fills the second axis up to whole blocks."""
  missing = -x_NXC.shape[1] % block
  pad = ((0, 0), (0, missing), (0, 0))
  return jnp.pad(x_NXC, pad, constant_values=fill)


def _widen(x, D, width):
  """Fills each term of D channels up to the width."""
  terms = x.reshape(*x.shape[:-1], -1, D)
  pad = ((0, 0),) * (terms.ndim - 1) + ((0, width - D),)
  wide = jnp.pad(terms, pad)
  return wide.reshape(*x.shape[:-1], math.prod(wide.shape[-2:]))
