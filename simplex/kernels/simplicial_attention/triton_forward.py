"""The forward kernel of `gpu_triton`; imported only when it is called.

A tensor core wants a left operand of many rows. In ordinary attention a row is
one query of one head. Here it is a triple (short key s, query, head), and its
operand is the Hadamard product of that query and that short key, made in
registers. Rows of one query position share their long window too, so heads,
queries and short keys together fill a tile for any number of heads per key
head. Tiles of queries alone would waste most of their products: 64 queries
touch w + 63 keys on each axis, and use w of them.
"""

import triton
import triton.language as tl

from simplex.kernels import triton_blocks as tb
from simplex.kernels.simplicial_attention import triton_tiles as tt


@triton.jit
def _online(
  a_mD,
  k2_nD,
  sees_mn,
  best_m,
  bias_m,
  valid_p,
  MASKED: tl.constexpr,
  c: tl.constexpr,
):
  """One step of the softmax of each row: weights, factor of the past, maximum.

  The scale multiplies in float32, inside of the exponent. A row whose short key
  is not visible is masked by its shift alone, at no cost per element.
  """
  x_mn = tl.dot(a_mD, tl.trans(k2_nD), input_precision=c.PRECISION)
  if MASKED:
    x_mn = tl.where(sees_mn, x_mn, c.masked_logit)
  if c.SCALE < 0:
    top_m = tl.min(x_mn, 1) * c.logits_scale
  else:
    top_m = tl.max(x_mn, 1) * c.logits_scale
  new_m = tl.where(valid_p, tl.maximum(best_m, top_m + bias_m), best_m)
  # A row that has seen nothing yet: -inf minus -inf would be NaN.
  finite_m = tl.where(new_m == -float("inf"), 0.0, new_m)
  shift_m = tl.where(valid_p, finite_m - bias_m, float("inf"))
  p_mn = tl.exp2(x_mn * c.logits_scale - shift_m[:, None])
  return p_mn, tl.exp2(best_m - finite_m), new_m


@triton.jit
def _store(best_m, total_m, acc_mD, out, lse, first, c: tl.constexpr):
  """Merges the rows of each (query, head), `o`, and writes them."""
  best_o, total_o, acc_oD = best_m, total_m, acc_mD
  if c.NS > 1:
    best_so = tl.reshape(best_m, (c.NS, c.NQ * c.NH))
    best_o = tl.max(best_so, 0)
    finite_o = tl.where(best_o == -float("inf"), 0.0, best_o)
    factor_so = tl.exp2(best_so - finite_o[None, :])
    total_so = tl.reshape(total_m, (c.NS, c.NQ * c.NH))
    total_o = tl.sum(total_so * factor_so, 0)
    factor_m = tl.reshape(factor_so, (c.rows,))
    acc_oD = tt.sum_short(acc_mD * factor_m[:, None], c)
  seen_o = total_o > 0
  total_o = tl.where(seen_o, total_o, 1.0)
  lse_o = (best_o + tl.log2(total_o)) * tb.LN_2
  row_o = tl.arange(0, c.NQ * c.NH)
  inside_o = first + row_o // c.NH < c.T
  row_o = row_o // c.NH * c.H + row_o % c.NH
  tl.store(lse + row_o, tl.where(seen_o, lse_o, -float("inf")), mask=inside_o)
  out_oD = out + row_o[:, None] * c.D + tl.arange(0, c.D)[None, :]
  tl.store(out_oD, acc_oD / total_o[:, None], mask=inside_o[:, None])


@triton.jit
def forward(q, k1, v1, k2, v2, seg_q, seg_1, seg_2, out, lse, c: tl.constexpr):
  """The sum over rows r of v1_r * (P V2)_r / total, each with its own softmax.

  Tiles of K2 and V2 are the outer loop and short keys the inner one: a tile is
  read once and used for every short key, where the other order reads the whole
  long window again for each. A maximum shared by the rows of a head would be a
  reduction across the tile at every step, so each row has its own, and rows
  meet once, at the end. Where one block holds all short keys, v1 waits for the
  end too, and what is left is the loop of ordinary attention.
  """
  PHASES: tl.constexpr = c.phases
  # Neighbours in the grid share a long window, which then stays in cache.
  pid = tl.program_id(0)
  head = (pid % c.head_blocks) * c.NH
  pid = pid // c.head_blocks
  first = (pid % c.query_blocks) * c.NQ
  pid = pid // c.query_blocks
  part = pid % (c.PARTS1 * c.PARTS2)
  pid = pid // (c.PARTS1 * c.PARTS2)
  g = pid % c.G
  b = pid // c.G
  last = tl.minimum(first + c.NQ, c.T) - 1
  head_m, short_p, query_p = tt.rows(c)
  inside_p = first + query_p < c.T
  position_p = first + query_p + (c.R - c.T)

  # Large offsets are 64-bit scalars; those inside of a block fit in 32 bits.
  row = (b * c.T + first).to(tl.int64) * c.H + g * (c.H // c.G) + head
  row_m = query_p * c.H + head_m
  q0_mD, q1_mD = tt.load_terms(q, row, row_m, inside_p, c)
  seg_p = tt.load_segments(seg_q + b * c.T, first + query_p, inside_p, c)
  start = first + (c.S - c.T - c.BEFORE1)
  s_lo, s_hi = tt.short_blocks(first, last, c)
  lo, in_lo, in_hi, hi = tt.long_tiles(first, last, c)

  best_m = tl.full((c.rows,), -float("inf"), tl.float32)
  total_m = tl.full((c.rows,), 0.0, tl.float32)
  acc_mD = tl.full((c.rows, c.D), 0.0, tl.float32)
  if c.flat:
    valid_p, k0_pD, k1_pD, v1_pD = tt.load_short(
      k1, v1, seg_1, seg_p, inside_p, short_p, query_p, b, g, start, 0, c
    )
    a_mD = tt.product(q0_mD, q1_mD, k0_pD, k1_pD, c)
    bias_m = tt.bias(q0_mD, k0_pD, c)

  for phase in tl.static_range(PHASES):
    tiles = tb.phase_size(lo, in_lo, in_hi, hi, phase == 0)
    for i in range(part // c.PARTS1, tiles, c.PARTS2):
      tile = tb.phase_block(i, lo, in_lo, in_hi, phase == 0) * c.N
      k2_nD, v2_nD, seg_n, key_n = tt.load_long(
        k2, v2, seg_2, b, g, tile, phase == 0, c
      )
      sees_mn = tt.sees(
        position_p[:, None], seg_p[:, None], key_n[None], seg_n[None], c
      )
      if c.flat:
        p_mn, past_m, best_m = _online(
          a_mD, k2_nD, sees_mn, best_m, bias_m, valid_p, phase == 0, c
        )
        total_m = total_m * past_m + tl.sum(p_mn, 1)
        acc_mD = tl.dot(
          p_mn.to(v2_nD.dtype),
          v2_nD,
          acc_mD * past_m[:, None],
          input_precision=c.PRECISION,
        )
      else:
        for s in range(s_lo + part % c.PARTS1, s_hi, c.PARTS1):
          valid_p, k0_pD, k1_pD, v1_pD = tt.load_short(
            k1, v1, seg_1, seg_p, inside_p, short_p, query_p, b, g, start, s, c
          )
          if c.wide:
            q0_mD, q1_mD = tt.load_terms(q, row, row_m, valid_p, c)
          p_mn, past_m, best_m = _online(
            tt.product(q0_mD, q1_mD, k0_pD, k1_pD, c),
            k2_nD,
            sees_mn,
            best_m,
            tt.bias(q0_mD, k0_pD, c),
            valid_p,
            phase == 0,
            c,
          )
          total_m = total_m * past_m + tl.sum(p_mn, 1)
          pv_mD = tl.dot(
            p_mn.to(v2_nD.dtype), v2_nD, input_precision=c.PRECISION
          )
          acc_mD = acc_mD * past_m[:, None] + pv_mD * v1_pD.to(tl.float32)

  if c.flat:
    acc_mD *= v1_pD.to(tl.float32)
  row += part.to(tl.int64) * (c.B * c.T * c.H)
  _store(best_m, total_m, acc_mD, out + row * c.D, lse + row, first, c)
