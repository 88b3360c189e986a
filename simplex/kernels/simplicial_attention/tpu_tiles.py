"""What the TPU kernels do with one tile: rows, scores, probabilities.

Local axes: x rows (a query and a head each), j short keys, r second keys of a
tile; m is j and x as one axis, for products of matrices.
"""

from typing import NamedTuple

from jax import lax
from jax.experimental import pallas as pl
import jax.numpy as jnp

from simplex.kernels import tpu
from simplex.kernels.simplicial_attention import tpu_blocks
from simplex.types import Array


class Config(NamedTuple):
  """What is known when a kernel is traced.

  Attributes:
    plan: tiles and blocks.
    product: "times" or "plus".
    scale: factor of the logits.
    terms: how often the width is in that of q and k1.
    width: of values and of one term, a multiple of the lanes.
  """

  plan: tpu_blocks.Plan
  product: str
  scale: float
  terms: int
  width: int


class Inputs(NamedTuple):
  """Arrays of the call, or a block of each, `[rows or keys, width]`.

  Attributes:
    q: rows.
    k1: short keys, float32, like v1: they are multiplied on the VPU.
    v1: their values.
    k2: second keys.
    v2: their values.
    segments: empty, or of rows and of short keys as columns, and of second
      keys as a row.
    d_out: rows; of the backward pass, like the next.
    stats: lse and delta of each row, as two columns.
  """

  q: Array
  k1: Array
  v1: Array
  k2: Array
  v2: Array
  segments: tuple = ()
  d_out: tuple | Array = ()
  stats: tuple | Array = ()


class Span(NamedTuple):
  """A tile: where it is in its block, and its first index in the axis."""

  at: pl.Slice
  first: Array


def for_each_tile(bounds, block, size, tile, body):
  """Calls `body` with the `Span` of each tile in bounds of a block."""

  def step(i, carry):
    start = pl.multiple_of(i * tile, tile)
    body(Span(pl.ds(start, tile), block * size + start))
    return carry

  lax.fori_loop(*bounds, step, 0)


def parts(cfg: Config) -> list[slice]:
  """Where each term is in a row of q or k1."""
  return [slice(n * cfg.width, (n + 1) * cfg.width) for n in range(cfg.terms)]


def make_rows(cfg: Config, refs: Inputs, x: Span, j: Span):
  """Rows `a` of the logits `scale (a . k2) + bias` for all pairs (j, x).

  Returns:
    a_mD in the dtype of k2, and bias_jx1: -inf where x does not see j.
  """
  q_xC = refs.q[x.at, :].astype(jnp.float32)
  k1_j1C = refs.k1[j.at, :][:, None]
  bias_jx1 = 0.0
  if cfg.product == "plus":
    a_jxD = q_xC + k1_j1C
    bias_jx1 = cfg.scale * jnp.sum(q_xC * k1_j1C, axis=-1, keepdims=True)
  else:
    a_jxD = sum(q_xC[:, n] * k1_j1C[..., n] for n in parts(cfg))
  seen_jx1 = _sees_short(cfg.plan, refs, x, j)
  bias_jx1 = jnp.where(seen_jx1, bias_jx1, -jnp.inf)
  return flat(a_jxD).astype(refs.k2.dtype), bias_jx1


def make_value_rows(refs: Inputs, x: Span, j: Span):
  """Rows b = d_out * v1 of the gradients `b . v2` of probabilities."""
  d_out_xD = refs.d_out[x.at, :].astype(jnp.float32)
  return flat(d_out_xD * refs.v1[j.at, :][:, None]).astype(refs.v2.dtype)


def scores(cfg: Config, refs: Inputs, a_mD, bias_jx1, x: Span, r: Span):
  """Scaled logits `[j, x, r]` in float32, -inf where x does not see both."""
  logits_jxr = by_key(cfg, tpu.dot(a_mD, refs.k2[r.at, :], (1, 1)))
  bias_xr = jnp.where(_sees_long(cfg.plan, refs, x, r), 0.0, -jnp.inf)
  return cfg.scale * logits_jxr + bias_jx1 + bias_xr


def score_grads(cfg: Config, refs: Inputs, a_mD, bias_jx1, b_mD, x, r):
  """Probabilities P, and gradients `P (dP - delta)`, both `[m, r]`."""
  stats_x2 = refs.stats[x.at, :]
  s_jxr = scores(cfg, refs, a_mD, bias_jx1, x, r)
  p_jxr = jnp.exp(s_jxr - stats_x2[:, :1])
  d_p_jxr = by_key(cfg, tpu.dot(b_mD, refs.v2[r.at, :], (1, 1)))
  return flat(p_jxr), flat(p_jxr * (d_p_jxr - stats_x2[:, 1:]))


def flat(x_jxD):
  return x_jxD.reshape(-1, x_jxD.shape[-1])


def by_key(cfg: Config, x_mD):
  return x_mD.reshape(cfg.plan.short.tile, cfg.plan.tile, -1)


def _sees_short(plan, refs, x, j):
  J, X = plan.short.tile, plan.tile
  row = x.first + lax.broadcasted_iota(jnp.int32, (J, X, 1), 1)
  key = j.first + lax.broadcasted_iota(jnp.int32, (J, X, 1), 0)
  seen_jx1 = _sees(plan, plan.short, row, key)
  if refs.segments:
    of_row, of_short, _ = refs.segments
    seen_jx1 &= of_row[x.at, :] == of_short[j.at, :][:, None]
  return seen_jx1


def _sees_long(plan, refs, x, r):
  X, R = plan.tile, plan.long.tile
  row = x.first + lax.broadcasted_iota(jnp.int32, (X, 1), 0)
  key = r.first + lax.broadcasted_iota(jnp.int32, (1, R), 1)
  seen_xr = _sees(plan, plan.long, row, key)
  if refs.segments:
    of_row, _, of_long = refs.segments
    seen_xr &= of_row[x.at, :] == of_long[:, r.at]
  return seen_xr


def _sees(plan, axis, row, key):
  """In numbers of rows, so that no row is divided by the heads."""
  position = key - axis.offset
  first = plan.heads * (position - axis.after)
  last = plan.heads * (position + axis.before + 1) - 1
  return (row >= first) & (row <= last) & (key < axis.length)
