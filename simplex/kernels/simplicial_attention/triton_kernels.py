"""The kernels of `gpu_triton`; only imported when one of them is called.

A kernel gives a tensor core a left operand of many rows. One query of one head
is one row of ordinary attention, but here it is a row for every short key s: a
row is a triple (s, query, head), and its operand is the Hadamard product of the
query and the short key, made in registers. Rows that share a query position
share their long window too, so NH heads x NQ queries x NS short keys fill a
tile of m rows for any number of heads per key head, with next to no waste:
sequence tiling would lose w2 / (w2 + m) on one axis and w1 / (w1 + m) on the
other. Short keys are counted from the start of each query's own window.

Axes: m rows of a tile, in the order (s, query, head), the head fastest; p pairs
(s, query), or one when all rows of a tile have the same; n second keys of a
tile; D channels. Logits are kept in base two: `scale` is scale * log2(e), and
multiplies in float32. Every sum has one owner and one order: no atomics.
"""

import triton
import triton.language as tl

INF = tl.constexpr(float("inf"))
LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _rows(NS: tl.constexpr, NQ: tl.constexpr, NH: tl.constexpr):
  """Heads `[m]`; short keys and queries `[p]`, counted from the block's own."""
  row_m = tl.arange(0, NS * NQ * NH)
  # When heads fill the tile, one [1, D] load of a key serves all rows.
  pair_p = tl.arange(0, 1) if NS * NQ == 1 else row_m // NH
  return row_m % NH, pair_p // NQ, pair_p % NQ


@triton.jit
def _tiles(
  first, last, BEFORE: tl.constexpr, AFTER: tl.constexpr, R, N: tl.constexpr
):
  """Tiles that some query of positions first..last sees, and that all see.

  Returns:
    (lo, in_lo, in_hi, hi): of the tiles lo..hi, those from in_lo to in_hi are
    seen whole by every query, so they need no mask.
  """
  start = tl.maximum(first - BEFORE, 0)
  stop = tl.maximum(tl.minimum(last + AFTER + 1, R), start)
  lo, hi = start // N, tl.cdiv(stop, N)
  in_lo = tl.minimum(tl.cdiv(tl.maximum(last - BEFORE, 0), N), hi)
  in_hi = tl.maximum(tl.minimum(first + AFTER + 1, R), 0) // N
  return lo, in_lo, tl.maximum(in_hi, in_lo), hi


@triton.jit
def _short_blocks(first, last, S, W1: tl.constexpr, NS: tl.constexpr):
  """Blocks of short keys inside the sequence; first, last are window starts."""
  lo = tl.maximum(-last, 0) // NS
  return lo, tl.cdiv(tl.maximum(tl.minimum(S - first, W1), 0), NS)


@triton.jit
def _row(q0, q1, k0, k1, PLUS: tl.constexpr, TERMS: tl.constexpr):
  """The left operand `[m, D]`, rounded once to the type of the inputs."""
  if PLUS:
    return q0 + k0
  if TERMS == 1:
    return q0 * k0
  first = q0.to(tl.float32) * k0.to(tl.float32)
  return (first + q1.to(tl.float32) * k1.to(tl.float32)).to(q0.dtype)


@triton.jit
def _bias(q0, k0, scale, PLUS: tl.constexpr):
  """What a row's logits have beside the product of matrices, `[m]`."""
  if PLUS:
    return scale * tl.sum(q0.to(tl.float32) * k0.to(tl.float32), 1)
  return tl.zeros((q0.shape[0],), tl.float32)


@triton.jit
def _sees(
  position_m,
  segment_m,
  key_n,
  seg_2,
  R,
  BEFORE2: tl.constexpr,
  AFTER2: tl.constexpr,
  SEGMENTS: tl.constexpr,
):
  """Which second keys each row sees, `[m or 1, n]`."""
  age_mn = position_m[:, None] - key_n[None, :]
  sees_mn = (age_mn <= BEFORE2) & (age_mn >= -AFTER2) & (key_n < R)[None, :]
  if SEGMENTS:
    segment_n = tl.load(seg_2 + key_n, mask=key_n < R, other=0)
    sees_mn = sees_mn & (segment_m[:, None] == segment_n[None, :])
  return sees_mn


@triton.jit
def _sum_short(x_mD, NS: tl.constexpr):
  """Sums over the short keys of each (query, head): the slowest axis."""
  if NS == 1:
    return x_mD
  rows: tl.constexpr = x_mD.shape[0] // NS
  return tl.sum(tl.reshape(x_mD, (NS, rows, x_mD.shape[1])), 0)


@triton.jit
def _sum_heads(x_mD, NH: tl.constexpr):
  """Sums over the heads of each (short key, query): the fastest axis."""
  if NH == 1:
    return x_mD
  if NH == x_mD.shape[0]:
    return tl.sum(x_mD, 0)[None, :]
  pairs: tl.constexpr = x_mD.shape[0] // NH
  return tl.sum(tl.reshape(x_mD, (pairs, NH, x_mD.shape[1])), 1)


@triton.jit
def forward(
  q,
  k1,
  v1,
  k2,
  v2,
  seg_q,
  seg_1,
  seg_2,
  scale,
  out,
  lse,
  B: tl.constexpr,
  T: tl.constexpr,
  S: tl.constexpr,
  R: tl.constexpr,
  H: tl.constexpr,
  G: tl.constexpr,
  D: tl.constexpr,
  TERMS: tl.constexpr,
  BEFORE1: tl.constexpr,
  AFTER1: tl.constexpr,
  BEFORE2: tl.constexpr,
  AFTER2: tl.constexpr,
  NS: tl.constexpr,
  NQ: tl.constexpr,
  NH: tl.constexpr,
  N: tl.constexpr,
  PARTS1: tl.constexpr,
  PARTS2: tl.constexpr,
  PLUS: tl.constexpr,
  NEGATIVE: tl.constexpr,
  SEGMENTS: tl.constexpr,
  PRECISION: tl.constexpr,
):
  """out = sum_r p_r (v1 * PV_r), one online softmax for each row r.

  The tile of K2 and V2 is the outer loop and short keys the inner one: a tile
  is read once and used for every short key, where the opposite order reads the
  whole long window again for each of them. Rows keep a running maximum, sum and
  accumulator of their own, since a maximum shared by rows would be a reduction
  across the tile at each step; rows of one (query, head) meet once, at the end.
  """
  W1: tl.constexpr = BEFORE1 + AFTER1 + 1
  HEAD_BLOCKS: tl.constexpr = H // G // NH
  FLAT: tl.constexpr = W1 <= NS
  WORST: tl.constexpr = INF if NEGATIVE else -INF

  # Neighbours in the grid share a long window, which then stays in cache.
  pid = tl.program_id(0)
  head_block = pid % HEAD_BLOCKS
  pid = pid // HEAD_BLOCKS
  first = pid % tl.cdiv(T, NQ) * NQ
  pid = pid // tl.cdiv(T, NQ)
  part = pid % (PARTS1 * PARTS2)
  pid = pid // (PARTS1 * PARTS2)
  g = pid % G
  b = pid // G
  last = tl.minimum(first + NQ, T) - 1

  head_m, short_p, query_p = _rows(NS, NQ, NH)
  D_D = tl.arange(0, D)
  # Large offsets are scalars of 64 bits; those within a tile fit in 32.
  q += ((b * T + first).to(tl.int64) * H + g * (H // G) + head_block * NH) * (
    TERMS * D
  )
  q_mD = q + ((query_p * H + head_m) * (TERMS * D))[:, None] + D_D[None, :]
  in_block_p = first + query_p < T
  in_block_m1 = in_block_p[:, None]
  q0_mD = tl.load(q_mD, mask=in_block_m1, other=0.0)
  q1_mD = q0_mD
  if TERMS == 2:
    q1_mD = tl.load(q_mD + D, mask=in_block_m1, other=0.0)
  segment_p = query_p
  if SEGMENTS:
    segment_p = tl.load(seg_q + b * T + first + query_p, mask=in_block_p)

  start1 = first + (S - T - BEFORE1)
  s_lo, s_hi = _short_blocks(start1, last + (S - T - BEFORE1), S, W1, NS)
  k1 += ((b * S + start1).to(tl.int64) * G + g) * (TERMS * D)
  v1 += ((b * S + start1).to(tl.int64) * G + g) * D
  position_p = first + query_p + (R - T)
  lo, in_lo, in_hi, hi = _tiles(
    first + (R - T), last + (R - T), BEFORE2, AFTER2, R, N
  )

  best_m = tl.full((NS * NQ * NH,), -INF, tl.float32)
  total_m = tl.zeros((NS * NQ * NH,), tl.float32)
  acc_mD = tl.zeros((NS * NQ * NH, D), tl.float32)
