"""The backward kernels of `gpu_triton`; imported only when they are called.

With P = exp(scale Q K' + decay - lse), made again from the inputs:

  dP = d_out V'        dS = P (dP - delta)
  d_q = scale dS K                               rows, owned by their queries
  d_k = scale dS' Q    d_v = P' d_out            columns, owned by their keys

and the sums of dS over the queries. Each sum is in registers of its one owner:
nothing is added into memory in no fixed order.
"""

import triton
import triton.language as tl

from simplex.kernels import triton_blocks as tb
from simplex.kernels.forgetting_attention import triton_tiles as tt


@triton.jit
def _row_numbers(lse, delta, b, head, query_m, c: tl.constexpr):
  """Each row's lse, in base two, and delta; behind the last, of no weight."""
  index = (b * c.H + head).to(tl.int64) * c.T + query_m
  inside_m = query_m < c.T
  lse_m = tl.load(lse + index, mask=inside_m, other=float("inf")) / tb.LN_2
  return lse_m, tl.load(delta + index, mask=inside_m, other=0.0)


@triton.jit
def backward_q(
  q,
  k,
  v,
  high,
  low,
  seg_q,
  seg_k,
  start,
  least,
  most,
  lse,
  delta,
  d_out,
  d_q,
  c: tl.constexpr,
):
  """The gradient of a block of queries."""
  b, head, g, block = tt.query_block(c)
  first = block * c.M
  query_m = first + tl.arange(0, c.M)
  position_m = query_m + c.past
  q_mD = tt.load_rows(q, b, first, head, c.M, c.T, c.H, c.ragged_queries, c)
  d_out_mD = tt.load_rows(
    d_out, b, first, head, c.M, c.T, c.H, c.ragged_queries, c
  )
  lse_m, delta_m = _row_numbers(lse, delta, b, head, query_m, c)
  high_m, low_m = tt.load_gates(high, low, b, head, position_m, c)
  high_r, low_r = tt.load_gates(high, low, b, head, first + c.past, c)
  row_m = tt.decay(high_m, low_m, high_r, low_r, c)
  start_m = tt.load_starts(start, b, head, query_m, c)
  seg_m = tt.load_segments(seg_q, b, query_m, c.T, c)
  lo, in_lo, in_hi, hi = tt.key_tiles(least, most, b, head, block, c)

  d_q_mD = tl.full((c.M, c.D), 0.0, tl.float32)
  for phase in tl.static_range(2):
    for i in range(0, tb.phase_size(lo, in_lo, in_hi, hi, phase == 0)):
      tile = tb.phase_block(i, lo, in_lo, in_hi, phase == 0)
      key_n = tile * c.N + tl.arange(0, c.N)
      k_nD = tt.load_rows(
        k, b, tile * c.N, g, c.N, c.S, c.G, phase == 0 and c.ragged_keys, c
      )
      v_nD = tt.load_rows(
        v, b, tile * c.N, g, c.N, c.S, c.G, phase == 0 and c.ragged_keys, c
      )
      high_n, low_n = tt.load_gates(high, low, b, head, key_n, c)
      x_mn = tl.dot(q_mD, tl.trans(k_nD), input_precision=c.PRECISION)
      if phase == 0:
        x_mn = x_mn * c.logits_scale + tt.decay(
          high_m[:, None], low_m[:, None], high_n[None], low_n[None], c
        )
        seg_n = tt.load_segments(seg_k, b, key_n, c.S, c)
        sees_mn = tt.sees(
          position_m[:, None],
          start_m[:, None],
          seg_m[:, None],
          key_n[None],
          seg_n[None],
          c,
        )
        x_mn = tl.where(sees_mn, x_mn, -float("inf"))
        p_mn = tl.exp2(x_mn - lse_m[:, None])
      else:
        column_n = tt.decay(high_r, low_r, high_n, low_n, c)
        x_mn = x_mn * c.logits_scale + column_n[None]
        p_mn = tl.exp2(x_mn - (lse_m - row_m)[:, None])
      d_p_mn = tl.dot(d_out_mD, tl.trans(v_nD), input_precision=c.PRECISION)
      d_s_mn = p_mn * (d_p_mn - delta_m[:, None])
      d_q_mD = tl.dot(
        d_s_mn.to(k_nD.dtype), k_nD, d_q_mD, input_precision=c.PRECISION
      )
  tt.store_rows(d_q, d_q_mD * c.SCALE, b, first, head, c.M, c.T, c.H, c)


@triton.jit
def backward_kv(
  q,
  k,
  v,
  high,
  low,
  seg_q,
  seg_k,
  start,
  whole,
  stop,
  lse,
  delta,
  d_out,
  d_k,
  d_v,
  columns,
  c: tl.constexpr,
):
  """The gradients of a tile of keys, over the heads that share it.

  Everything is transposed: with keys as rows, P and dS come out of one product
  in the layout in which the next one takes them.
  """
  pid = tl.program_id(0)
  tile = pid % c.key_blocks
  pid = pid // c.key_blocks
  part = pid % c.PARTS
  pid = pid // c.PARTS
  g = pid % c.G
  b = pid // c.G
  key_n = tile * c.N + tl.arange(0, c.N)
  k_nD = tt.load_rows(k, b, tile * c.N, g, c.N, c.S, c.G, c.ragged_keys, c)
  v_nD = tt.load_rows(v, b, tile * c.N, g, c.N, c.S, c.G, c.ragged_keys, c)
  seg_n = tt.load_segments(seg_k, b, key_n, c.S, c)

  d_k_nD = tl.full((c.N, c.D), 0.0, tl.float32)
  d_v_nD = tl.full((c.N, c.D), 0.0, tl.float32)
  for head_of_g in range(part, c.heads, c.PARTS):
    head = g * c.heads + head_of_g
    high_n, low_n = tt.load_gates(high, low, b, head, key_n, c)
    high_r, low_r = tt.load_gates(high, low, b, head, tile * c.N + c.N - 1, c)
    column_n = tt.decay(high_r, low_r, high_n, low_n, c)
    lo, in_lo, in_hi, hi = tt.query_tiles(whole, stop, b, head, tile, c)
    sum_n = tl.full((c.N,), 0.0, tl.float32)
    for phase in tl.static_range(2):
      for i in range(0, tb.phase_size(lo, in_lo, in_hi, hi, phase == 0)):
        first = tb.phase_block(i, lo, in_lo, in_hi, phase == 0) * c.M
        query_m = first + tl.arange(0, c.M)
        position_m = query_m + c.past
        q_mD = tt.load_rows(
          q, b, first, head, c.M, c.T, c.H, c.ragged_queries, c
        )
        d_out_mD = tt.load_rows(
          d_out, b, first, head, c.M, c.T, c.H, c.ragged_queries, c
        )
        lse_m, delta_m = _row_numbers(lse, delta, b, head, query_m, c)
        high_m, low_m = tt.load_gates(high, low, b, head, position_m, c)
        x_nm = tl.dot(k_nD, tl.trans(q_mD), input_precision=c.PRECISION)
        if phase == 0:
          x_nm = x_nm * c.logits_scale + tt.decay(
            high_m[None], low_m[None], high_n[:, None], low_n[:, None], c
          )
          start_m = tt.load_starts(start, b, head, query_m, c)
          seg_m = tt.load_segments(seg_q, b, query_m, c.T, c)
          sees_nm = tt.sees(
            position_m[None],
            start_m[None],
            seg_m[None],
            key_n[:, None],
            seg_n[:, None],
            c,
          )
          x_nm = tl.where(sees_nm, x_nm, -float("inf"))
          p_nm = tl.exp2(x_nm - lse_m[None])
        else:
          row_m = tt.decay(high_m, low_m, high_r, low_r, c)
          x_nm = x_nm * c.logits_scale + column_n[:, None]
          p_nm = tl.exp2(x_nm - (lse_m - row_m)[None])
        d_p_nm = tl.dot(v_nD, tl.trans(d_out_mD), input_precision=c.PRECISION)
        d_s_nm = p_nm * (d_p_nm - delta_m[None])
        d_v_nD = tl.dot(
          p_nm.to(d_out_mD.dtype), d_out_mD, d_v_nD, input_precision=c.PRECISION
        )
        d_k_nD = tl.dot(
          d_s_nm.to(q_mD.dtype), q_mD, d_k_nD, input_precision=c.PRECISION
        )
        sum_n += tl.sum(d_s_nm, 1)
    index = (b * c.H + head).to(tl.int64) * c.S
    tl.store(columns + index + key_n, sum_n, mask=key_n < c.S)

  b += part * c.B
  tt.store_rows(d_k, d_k_nD * c.SCALE, b, tile * c.N, g, c.N, c.S, c.G, c)
  tt.store_rows(d_v, d_v_nD, b, tile * c.N, g, c.N, c.S, c.G, c)
