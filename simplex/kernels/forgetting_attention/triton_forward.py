"""The forward kernel of `gpu_triton`; imported only when it is called.

A program owns a block of queries of one head and walks its tiles of keys from
the diagonal back. The decay of a pair is a number of its row plus a number of
its column, both counted from the first query of the block: in the exponent of
the softmax the row's joins the maximum, so that a gate costs one addition a
pair. In the tiles with a mask it is the exact difference of prefix sums.
"""

import triton
import triton.language as tl

from simplex.kernels import triton_blocks as tb
from simplex.kernels.forgetting_attention import triton_tiles as tt


@triton.jit
def _step(
  rows,
  best_m,
  total_m,
  acc_mD,
  arrays,
  b,
  head,
  g,
  tile,
  MASKED: tl.constexpr,
  c: tl.constexpr,
):
  """One tile of the softmax of each row: its maximum, total and values."""
  q_mD, position_m, start_m, seg_m, high_m, low_m, high_r, low_r = rows
  k, v, seg_k, high, low = arrays
  key_n = tile * c.N + tl.arange(0, c.N)
  ragged: tl.constexpr = MASKED and c.ragged_keys
  k_nD = tt.load_rows(k, b, tile * c.N, g, c.N, c.S, c.G, ragged, c)
  high_n, low_n = tt.load_gates(high, low, b, head, key_n, c)
  x_mn = tl.dot(q_mD, tl.trans(k_nD), input_precision=c.PRECISION)
  if MASKED:
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
    new_m = tl.maximum(best_m, tl.max(x_mn, 1))
    # A row that has seen nothing yet: -inf minus -inf would be NaN.
    finite_m = tl.where(new_m == -float("inf"), 0.0, new_m)
    shift_m = finite_m
  else:
    column_n = tt.decay(high_r, low_r, high_n, low_n, c)
    row_m = tt.decay(high_m, low_m, high_r, low_r, c)
    x_mn = x_mn * c.logits_scale + column_n[None]
    new_m = tl.maximum(best_m, tl.max(x_mn, 1) + row_m)
    finite_m = new_m
    shift_m = new_m - row_m
  p_mn = tl.exp2(x_mn - shift_m[:, None])
  past_m = tl.exp2(best_m - finite_m)
  v_nD = tt.load_rows(v, b, tile * c.N, g, c.N, c.S, c.G, ragged, c)
  acc_mD = tl.dot(
    p_mn.to(v_nD.dtype),
    v_nD,
    acc_mD * past_m[:, None],
    input_precision=c.PRECISION,
  )
  return new_m, total_m * past_m + tl.sum(p_mn, 1), acc_mD


@triton.jit
def _needed(
  rows,
  length_m,
  real_m,
  best_m,
  total_m,
  arrays,
  longest,
  b,
  head,
  g,
  tile,
  c: tl.constexpr,
):
  """Whether some row may have weight in a tile or before it; see `pruning`."""
  _, _, _, _, high_m, low_m, _, _ = rows
  _, _, _, high, low = arrays
  tile = tl.maximum(tile, 0)
  end = tile * c.N + c.N - 1
  high_e, low_e = tt.load_gates(high, low, b, head, end, c)
  most_m = length_m * tl.load(longest + (b * c.G + g) * c.key_blocks + tile)
  most_m += tt.decay(high_m, low_m, high_e, low_e, c)
  most_m += tl.log2((end + 1).to(tl.float32))
  lse_m = best_m + tl.log2(total_m)
  needs_m = real_m & (most_m >= lse_m + c.log2_epsilon)
  return tl.max(needs_m.to(tl.int32), 0) > 0


@triton.jit
def forward(
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
  longest,
  out,
  lse,
  first,
  c: tl.constexpr,
):
  """The mixed values, normalisers, and the first tile that was visited.

  A loop that may stop does so between chunks: inside of a chunk loads run ahead
  of products. Where it did not stop, the first tile is written as 0.
  """
  PHASES: tl.constexpr = c.phases
  b, head, g, block = tt.query_block(c)
  query_m = block * c.M + tl.arange(0, c.M)
  inside_m = query_m < c.T
  position_m = query_m + c.past
  q_mD = tt.load_rows(
    q, b, block * c.M, head, c.M, c.T, c.H, c.ragged_queries, c
  )
  high_m, low_m = tt.load_gates(high, low, b, head, position_m, c)
  high_r, low_r = tt.load_gates(high, low, b, head, block * c.M + c.past, c)
  start_m = tt.load_starts(start, b, head, query_m, c)
  seg_m = tt.load_segments(seg_q, b, query_m, c.T, c)
  rows = (q_mD, position_m, start_m, seg_m, high_m, low_m, high_r, low_r)
  arrays = (k, v, seg_k, high, low)
  lo, in_lo, in_hi, hi = tt.key_tiles(least, most, b, head, block, c)
  if c.ONLINE:
    wide_mD = q_mD.to(tl.float32)
    # Rounded up, as `pruning.norms` does.
    length_m = tl.sqrt(tl.sum(wide_mD * wide_mD, 1)) * 1.00001
    length_m *= c.bound_scale
    real_m = inside_m
    if c.SEGMENTS:
      real_m &= seg_m >= 0

  best_m = tl.full((c.M,), -float("inf"), tl.float32)
  total_m = tl.full((c.M,), 0.0, tl.float32)
  acc_mD = tl.full((c.M, c.D), 0.0, tl.float32)
  tile = hi
  needed = hi > 0
  for phase in tl.static_range(PHASES):
    bottom = in_hi if phase == 0 else (in_lo if phase == 1 else lo)
    # Of the tiles of its own positions a block forgets none.
    chunk = c.CHUNK if c.ONLINE and phase > 0 else c.key_blocks
    while (tile > bottom) & needed:
      size = tl.minimum(tile - bottom, chunk)
      for i in range(1, size + 1):
        best_m, total_m, acc_mD = _step(
          rows,
          best_m,
          total_m,
          acc_mD,
          arrays,
          b,
          head,
          g,
          tile - i,
          phase != 1,
          c,
        )
      tile -= size
      if c.ONLINE:
        needed = _needed(
          rows,
          length_m,
          real_m,
          best_m,
          total_m,
          arrays,
          longest,
          b,
          head,
          g,
          tile - 1,
          c,
        )

  tl.store(
    first + (b * c.H + head) * c.query_blocks + block,
    tl.where(tile > lo, tile, 0),
  )
  seen_m = total_m > 0
  total_m = tl.where(seen_m, total_m, 1.0)
  lse_m = tl.where(seen_m, (best_m + tl.log2(total_m)) * tb.LN_2, -float("inf"))
  lse += (b * c.H + head).to(tl.int64) * c.T
  tl.store(lse + query_m, lse_m, mask=inside_m)
  acc_mD = acc_mD / total_m[:, None]
  tt.store_rows(out, acc_mD, b, block * c.M, head, c.M, c.T, c.H, c)
