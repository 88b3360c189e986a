"""The backward kernels of `gpu_triton`; imported only when they are called.

With rows r = (short key, query, head), A_r = product(q, k1_s), B_r = d_out v1_s
and P = exp(scale (A K2' + bias) - lse), all of P made again from the inputs:

  dP = B V2'        dS = P (dP - delta)
  dA = dS K2        PV = P V2            rows, owned by their query
  d_k2 = dS' A      d_v2 = P' B          columns, owned by their tile of K2

Rows and columns are summed by different programs, each sum in registers of its
one owner: two kernels of 16 D FLOP a pair together, where one kernel with 12 D
would have to add into memory in no fixed order.
"""

import triton
import triton.language as tl

from simplex.kernels import triton_blocks as tb
from simplex.kernels.simplicial_attention import triton_tiles as tt


@triton.jit
def _row_numbers(lse, delta, row, row_m, inside_p, c: tl.constexpr):
  """Each row's lse, in base two, and delta; zeros outside of the block."""
  inside_m = inside_p & (row_m >= 0)
  lse_m = tl.load(lse + row + row_m, mask=inside_m, other=0.0) / tb.LN_2
  return lse_m, tl.load(delta + row + row_m, mask=inside_m, other=0.0)


@triton.jit
def backward_q(
  q,
  k1,
  v1,
  k2,
  v2,
  seg_q,
  seg_1,
  seg_2,
  lse,
  delta,
  d_out,
  chunk,
  d_q,
  d_k1,
  d_v1,
  c: tl.constexpr,
):
  """d_q, and what each query adds to d_k1 and d_v1, summed over its heads.

  Short keys are the outer loop here and tiles of K2 and V2 the inner one, so
  that dA and PV stay in accumulators for the whole long window; a tile that is
  loaded feeds four products, twice as many as in the forward kernel. The
  addends of d_k1 and d_v1 are private to the query block, in `[J, SLOTS, D]`
  with J the first keys that the chunk sees: XLA sums over the slots.
  """
  PHASES: tl.constexpr = c.phases
  TERMS: tl.constexpr = c.TERMS
  pid = tl.program_id(0)
  head_block = pid % c.head_blocks
  pid = pid // c.head_blocks
  local = (pid % c.chunk_blocks) * c.NQ
  pid = pid // c.chunk_blocks
  g = pid % c.G
  b = pid // c.G
  first = tl.load(chunk) * c.CHUNK + local
  last = tl.minimum(first + c.NQ, c.T) - 1
  head_m, short_p, query_p = tt.rows(c)
  inside_p = first + query_p < c.T
  position_p = first + query_p + (c.R - c.T)

  head = g * (c.H // c.G) + head_block * c.NH
  row = (b * c.T + first).to(tl.int64) * c.H + head
  row_m = query_p * c.H + head_m
  lse_m, delta_m = _row_numbers(lse, delta, row, row_m, inside_p, c)
  seg_p = tt.load_segments(seg_q + b * c.T, first + query_p, inside_p, c)
  start = first + (c.S - c.T - c.BEFORE1)
  s_lo, s_hi = tt.short_blocks(first, last, c)
  lo, in_lo, in_hi, hi = tt.long_tiles(first, last, c)
  # The addends of this (b, g, head block): as many rows for each first key.
  addends = ((b * c.G + g) * c.head_blocks + head_block).to(tl.int64) * c.keys
  d_k1 += addends * (c.slots * c.TERMS * c.D)
  d_v1 += addends * (c.slots * c.D)
  row_o = tl.arange(0, c.NQ * c.NH)
  inside_o = local + row_o // c.NH < tl.minimum(c.CHUNK, c.T - first + local)
  row_o = row_o // c.NH * c.H + row_o % c.NH
  d_q += ((b * c.CHUNK + local).to(tl.int64) * c.H + head) * (c.TERMS * c.D)
  d_q_oD = d_q + tt.grid(row_o * (c.TERMS * c.D), c)
  for term in tl.static_range(TERMS):
    zeros_oD = tl.full((c.NQ * c.NH, c.D), 0.0, tl.float32)
    tl.store(d_q_oD + term * c.D, zeros_oD, mask=inside_o[:, None])

  for s in range(s_lo, s_hi):
    q0_mD, q1_mD = tt.load_terms(q, row, row_m, inside_p, c)
    d_out_mD = tt.load_rows(d_out, row, row_m, inside_p, c)
    valid_p, k0_pD, k1_pD, v1_pD = tt.load_short(
      k1, v1, seg_1, seg_p, inside_p, short_p, query_p, b, g, start, s, c
    )
    a_mD = tt.product(q0_mD, q1_mD, k0_pD, k1_pD, c)
    b_mD = d_out_mD * v1_pD
    shift_m = tl.where(valid_p, lse_m - tt.bias(q0_mD, k0_pD, c), float("inf"))
    d_a_mD = tl.full((c.rows, c.D), 0.0, tl.float32)
    pv_mD = tl.full((c.rows, c.D), 0.0, tl.float32)
    d_s_m = tl.full((c.rows,), 0.0, tl.float32)
    for phase in tl.static_range(PHASES):
      for i in range(0, tb.phase_size(lo, in_lo, in_hi, hi, phase == 0)):
        tile = tb.phase_block(i, lo, in_lo, in_hi, phase == 0) * c.N
        k2_nD, v2_nD, seg_n, key_n = tt.load_long(
          k2, v2, seg_2, b, g, tile, phase == 0, c
        )
        x_mn = tl.dot(a_mD, tl.trans(k2_nD), input_precision=c.PRECISION)
        p_mn = tl.exp2(x_mn * c.logits_scale - shift_m[:, None])
        if phase == 0:
          sees_mn = tt.sees(
            position_p[:, None], seg_p[:, None], key_n[None], seg_n[None], c
          )
          p_mn = tl.where(sees_mn, p_mn, 0.0)
        d_p_mn = tl.dot(b_mD, tl.trans(v2_nD), input_precision=c.PRECISION)
        d_s_mn = p_mn * (d_p_mn - delta_m[:, None])
        pv_mD = tl.dot(
          p_mn.to(v2_nD.dtype), v2_nD, pv_mD, input_precision=c.PRECISION
        )
        d_a_mD = tl.dot(
          d_s_mn.to(k2_nD.dtype), k2_nD, d_a_mD, input_precision=c.PRECISION
        )
        if c.PLUS:
          d_s_m += tl.sum(d_s_mn, 1)
    d_a_mD *= c.SCALE
    d_s_m *= c.SCALE

    # What the loop does not need is loaded again after it: registers are
    # scarcer than loads that hit the cache.
    index_p, kept_p = tt.addend_rows(first, local, s, start, c)
    d_v1_mD = pv_mD * tt.load_again(d_out, row, row_m, inside_p, 0, 1, c)
    d_v1_pD = d_v1 + tt.grid(index_p * c.D, c)
    tl.store(d_v1_pD, tt.sum_heads(d_v1_mD, c), mask=kept_p[:, None])
    d_k1_pD = d_k1 + tt.grid(index_p * (c.TERMS * c.D), c)
    key_row, key_p = tt.short_rows(short_p, query_p, b, g, start, s, c)
    for term in tl.static_range(TERMS):
      q_mD = tt.load_again(q, row, row_m, inside_p, term, c.TERMS, c)
      d_k1_mD = tt.d_factor(d_a_mD, q_mD, d_s_m, c)
      d_k1_oD = tt.sum_heads(d_k1_mD, c)
      tl.store(d_k1_pD + term * c.D, d_k1_oD, mask=kept_p[:, None])
      k_pD = tt.load_again(k1, key_row, key_p, valid_p, term, c.TERMS, c)
      add_oD = tt.sum_short(tt.d_factor(d_a_mD, k_pD, d_s_m, c), c)
      # Its own rows alone, in the order of s: this is no atomic.
      tl.debug_barrier()
      sum_oD = tl.load(d_q_oD + term * c.D, mask=inside_o[:, None], other=0.0)
      sum_oD += add_oD
      tl.store(d_q_oD + term * c.D, sum_oD, mask=inside_o[:, None])


@triton.jit
def backward_kv(
  q,
  k1,
  v1,
  k2,
  v2,
  seg_q,
  seg_1,
  seg_2,
  lse,
  delta,
  d_out,
  d_k2,
  d_v2,
  c: tl.constexpr,
):
  """d_k2 and d_v2 of a tile of second keys, summed over queries and heads.

  Everything is transposed: with second keys as rows, P and dS come out of one
  product in the layout in which the next one takes them, and both accumulators
  stay in registers until they are written once.
  """
  TILES: tl.constexpr = (c.R + c.N - 1) // c.N
  PHASES: tl.constexpr = c.phases
  pid = tl.program_id(0)
  tile = (pid % TILES) * c.N
  pid = pid // TILES
  part = pid % c.PARTS1
  pid = pid // c.PARTS1
  g = pid % c.G
  b = pid // c.G
  k2_nD, v2_nD, seg_n, key_n = tt.load_long(k2, v2, seg_2, b, g, tile, True, c)
  head_m, short_p, query_p = tt.rows(c)
  lo, in_lo, in_hi, hi = tt.query_blocks(tile, c)

  d_k2_nD = tl.full((c.N, c.D), 0.0, tl.float32)
  d_v2_nD = tl.full((c.N, c.D), 0.0, tl.float32)
  for phase in tl.static_range(PHASES):
    blocks = tb.phase_size(lo, in_lo, in_hi, hi, phase == 0)
    for i in range(part, blocks * c.head_blocks, c.PARTS1):
      block = i // c.head_blocks
      first = tb.phase_block(block, lo, in_lo, in_hi, phase == 0) * c.NQ
      head = g * (c.H // c.G) + i % c.head_blocks * c.NH
      inside_p = first + query_p < c.T
      row = (b * c.T + first).to(tl.int64) * c.H + head
      row_m = query_p * c.H + head_m
      q0_mD, q1_mD = tt.load_terms(q, row, row_m, inside_p, c)
      d_out_mD = tt.load_rows(d_out, row, row_m, inside_p, c)
      lse_m, delta_m = _row_numbers(lse, delta, row, row_m, inside_p, c)
      seg_p = tt.load_segments(seg_q + b * c.T, first + query_p, inside_p, c)
      start = first + (c.S - c.T - c.BEFORE1)
      last = tl.minimum(first + c.NQ, c.T) - 1
      s_lo, s_hi = tt.short_blocks(first, last, c)
      for s in range(s_lo, s_hi):
        valid_p, k0_pD, k1_pD, v1_pD = tt.load_short(
          k1, v1, seg_1, seg_p, inside_p, short_p, query_p, b, g, start, s, c
        )
        a_mD = tt.product(q0_mD, q1_mD, k0_pD, k1_pD, c)
        b_mD = d_out_mD * v1_pD
        bias_m = tt.bias(q0_mD, k0_pD, c)
        shift_m = tl.where(valid_p, lse_m - bias_m, float("inf"))
        x_nm = tl.dot(k2_nD, tl.trans(a_mD), input_precision=c.PRECISION)
        p_nm = tl.exp2(x_nm * c.logits_scale - shift_m[None, :])
        d_p_nm = tl.dot(v2_nD, tl.trans(b_mD), input_precision=c.PRECISION)
        if phase == 0:
          position_p = first + query_p + (c.R - c.T)
          sees_nm = tt.sees(
            position_p[None], seg_p[None], key_n[:, None], seg_n[:, None], c
          )
          p_nm = tl.where(sees_nm, p_nm, 0.0)
        d_s_nm = p_nm * (d_p_nm - delta_m[None, :])
        d_v2_nD = tl.dot(
          p_nm.to(b_mD.dtype), b_mD, d_v2_nD, input_precision=c.PRECISION
        )
        d_k2_nD = tl.dot(
          d_s_nm.to(a_mD.dtype), a_mD, d_k2_nD, input_precision=c.PRECISION
        )

  row = ((part * c.B + b) * c.R + tile).to(tl.int64) * c.G + g
  out_nD = tt.grid(tl.arange(0, c.N) * (c.G * c.D), c)
  inside_n1 = (key_n < c.R)[:, None]
  tl.store(d_k2 + row * c.D + out_nD, d_k2_nD * c.SCALE, mask=inside_n1)
  tl.store(d_v2 + row * c.D + out_nD, d_v2_nD, mask=inside_n1)
