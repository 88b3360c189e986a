"""What the Triton kernels share: rows, tiles, masks and sums.

Only the kernels import this module, since it needs triton.

Axes: m rows of a tile, in the order (short key, query, head), the head fastest;
p pairs (short key, query), or one if all rows of a tile have the same; n second
keys of a tile; D channels. Short keys are counted from the start of the window
of each query. `c` is `tiles.Tiles`.
"""

import triton
import triton.language as tl


@triton.jit
def rows(c: tl.constexpr):
  """Heads `[m]`; short keys and queries `[p]`; each counted in its block."""
  row_m = tl.arange(0, c.rows)
  # When heads fill the tile, one [1, D] load of a key serves all rows.
  pair_p = tl.arange(0, 1) if c.pairs == 1 else row_m // c.NH
  return row_m % c.NH, pair_p // c.NQ, pair_p % c.NQ


@triton.jit
def long_tiles(first, last, c: tl.constexpr):
  """The tiles of second keys that queries first..last see.

  Returns:
    `(lo, in_lo, in_hi, hi)`: some query sees a key of the tiles lo..hi; those
    from in_lo to in_hi are seen whole by every query, so they need no mask.
  """
  first += c.R - c.T
  last += c.R - c.T
  start = tl.maximum(first - c.BEFORE2, 0)
  stop = tl.maximum(tl.minimum(last + c.AFTER2 + 1, c.R), start)
  lo, hi = start // c.N, tl.cdiv(stop, c.N)
  if c.SEGMENTS:
    return lo, hi, hi, hi
  in_lo = tl.minimum(tl.cdiv(tl.maximum(last - c.BEFORE2, 0), c.N), hi)
  in_hi = tl.maximum(tl.minimum(first + c.AFTER2 + 1, c.R), 0) // c.N
  return lo, in_lo, tl.maximum(in_hi, in_lo), hi


@triton.jit
def short_blocks(first, last, c: tl.constexpr):
  """Blocks of short keys, `lo` to `hi`, that lie in the sequence."""
  start = c.S - c.T - c.BEFORE1
  lo = tl.maximum(-(last + start), 0) // c.NS
  hi = tl.cdiv(tl.maximum(tl.minimum(c.S - first - start, c.w1), 0), c.NS)
  return lo, hi


@triton.jit
def query_blocks(tile, c: tl.constexpr):
  """The blocks of queries that see a tile of second keys, as `long_tiles`."""
  key = tile - (c.R - c.T)
  start = tl.maximum(key - c.AFTER2, 0)
  stop = tl.maximum(tl.minimum(key + c.N + c.BEFORE2, c.T), start)
  lo, hi = start // c.NQ, tl.cdiv(stop, c.NQ)
  if c.SEGMENTS:
    return lo, hi, hi, hi
  in_lo = tl.cdiv(tl.maximum(key + c.N - 1 - c.AFTER2, 0), c.NQ)
  in_hi = tl.maximum(tl.minimum(key + c.BEFORE2 + 1, c.T), 0) // c.NQ
  # The tile that sticks out of the sequence always needs its mask.
  in_lo = tl.where(tile + c.N > c.R, hi, tl.minimum(in_lo, hi))
  return lo, in_lo, tl.maximum(in_hi, in_lo), hi


@triton.jit
def product(q0_mD, q1_mD, k0_pD, k1_pD, c: tl.constexpr):
  """The left operand `[m, D]`, rounded once to the type of the inputs."""
  if c.PLUS:
    return q0_mD + k0_pD
  if c.TERMS == 1:
    return q0_mD * k0_pD
  a_mD = q0_mD.to(tl.float32) * k0_pD.to(tl.float32)
  a_mD += q1_mD.to(tl.float32) * k1_pD.to(tl.float32)
  return a_mD.to(q0_mD.dtype)


@triton.jit
def bias(q0_mD, k0_pD, c: tl.constexpr):
  """What the logits of a row have beside its product with k2, `[m]`."""
  if c.PLUS:
    both_mD = q0_mD.to(tl.float32) * k0_pD.to(tl.float32)
    return c.logits_scale * tl.sum(both_mD, 1)
  return tl.full((c.rows,), 0.0, tl.float32)


@triton.jit
def sees(position, segment, key, key_segment, c: tl.constexpr):
  """Which second keys each row sees: a row by a column, either way round."""
  age = position - key
  sees = (age <= c.BEFORE2) & (age >= -c.AFTER2) & (key < c.R)
  if c.SEGMENTS:
    sees &= segment == key_segment
  return sees


@triton.jit
def load_segments(segments, index, mask, c: tl.constexpr):
  """Segments at an index; anything of its shape where there are none."""
  if c.SEGMENTS:
    return tl.load(segments + index, mask=mask, other=0)
  return index


@triton.jit
def load_terms(x, row, row_p, mask_p, c: tl.constexpr):
  """Rows of the query or the first key: one term, or two side by side."""
  x_pD = x + row * (c.TERMS * c.D) + (row_p * (c.TERMS * c.D))[:, None]
  x_pD += tl.arange(0, c.D)[None, :]
  first_pD = tl.load(x_pD, mask=mask_p[:, None], other=0.0)
  if c.TERMS == 1:
    return first_pD, first_pD
  return first_pD, tl.load(x_pD + c.D, mask=mask_p[:, None], other=0.0)


@triton.jit
def load_rows(x, row, row_p, mask_p, c: tl.constexpr):
  """Rows of D channels: values, and gradients of the output."""
  x_pD = x + row * c.D + (row_p * c.D)[:, None] + tl.arange(0, c.D)[None, :]
  return tl.load(x_pD, mask=mask_p[:, None], other=0.0)


@triton.jit
def load_again(
  x,
  row,
  row_p,
  mask_p,
  term: tl.constexpr,
  TERMS: tl.constexpr,
  c: tl.constexpr,
):
  """Rows of one of the terms, in float32, that were loaded before.

  The policy makes it another load than the first one, which the compiler would
  otherwise keep in registers for it.
  """
  x_pD = x + row * (TERMS * c.D) + (row_p * (TERMS * c.D))[:, None]
  x_pD += term * c.D + tl.arange(0, c.D)[None, :]
  x_pD = tl.load(
    x_pD, mask=mask_p[:, None], other=0.0, eviction_policy="evict_last"
  )
  return x_pD.to(tl.float32)


@triton.jit
def short_rows(short_p, query_p, b, g, start, s, c: tl.constexpr):
  """Rows of the s-th block of short keys: of the block, and in it."""
  row = (b * c.S + start + s * c.NS).to(tl.int64) * c.G + g
  return row, (short_p + query_p) * c.G


@triton.jit
def load_short(
  k1,
  v1,
  seg_1,
  segment_p,
  inside_p,
  short_p,
  query_p,
  b,
  g,
  start,
  s,
  c: tl.constexpr,
):
  """The s-th block of short keys of windows that begin at `start`.

  Returns:
    `(valid_p, k0_pD, k1_pD, v1_pD)`: which pairs are visible, both terms of
    their keys, their values; zeros where they are not visible.
  """
  key_p = start + s * c.NS + short_p + query_p
  valid_p = inside_p & (s * c.NS + short_p < c.w1)
  valid_p &= (key_p >= 0) & (key_p < c.S)
  if c.SEGMENTS:
    seg_p = tl.load(seg_1 + b * c.S + key_p, mask=valid_p, other=0)
    valid_p &= seg_p == segment_p
  row, row_p = short_rows(short_p, query_p, b, g, start, s, c)
  k0_pD, k1_pD = load_terms(k1, row, row_p, valid_p, c)
  return valid_p, k0_pD, k1_pD, load_rows(v1, row, row_p, valid_p, c)


@triton.jit
def load_long(k2, v2, seg_2, b, g, tile, MASKED: tl.constexpr, c: tl.constexpr):
  """A tile of second keys and values, their segments and their positions."""
  n = tl.arange(0, c.N)
  key_n = tile + n
  row = (b * c.R + tile).to(tl.int64) * c.G + g
  local_nD = (n * (c.G * c.D))[:, None] + tl.arange(0, c.D)[None, :]
  k2_nD = k2 + row * c.D + local_nD
  v2_nD = v2 + row * c.D + local_nD
  segment_n = load_segments(seg_2 + b * c.R, key_n, key_n < c.R, c)
  if MASKED:
    inside_n1 = (key_n < c.R)[:, None]
    k2_nD = tl.load(k2_nD, mask=inside_n1, other=0.0)
    v2_nD = tl.load(v2_nD, mask=inside_n1, other=0.0)
  else:
    k2_nD = tl.load(k2_nD)
    v2_nD = tl.load(v2_nD)
  return k2_nD, v2_nD, segment_n, key_n


@triton.jit
def sum_short(x_mD, c: tl.constexpr):
  """Sums over the short keys of each (query, head), the slowest axis."""
  if c.NS == 1:
    return x_mD
  return tl.sum(tl.reshape(x_mD, (c.NS, c.NQ * c.NH, c.D)), 0)


@triton.jit
def sum_heads(x_mD, c: tl.constexpr):
  """Sums over the heads of each (short key, query), the fastest axis."""
  if c.NH == 1:
    return x_mD
  if c.pairs == 1:
    return tl.sum(x_mD, 0)[None, :]
  return tl.sum(tl.reshape(x_mD, (c.pairs, c.NH, c.D)), 1)


@triton.jit
def d_factor(d_a_mD, other_pD, d_s_m, c: tl.constexpr):
  """The gradient of one factor of A from those of A and of the bias."""
  if c.PLUS:
    return d_a_mD + d_s_m[:, None] * other_pD.to(tl.float32)
  return d_a_mD * other_pD.to(tl.float32)


@triton.jit
def grid(offset_p, c: tl.constexpr):
  """Offsets of whole rows of D channels, `[p, D]`."""
  return offset_p[:, None] + tl.arange(0, c.D)[None, :]


@triton.jit
def addend_rows(first, local, s, start, c: tl.constexpr):
  """Where a chunk keeps what its pairs add to their short key.

  A pair (t, s) is kept with its key, J = t - chunk + s, in the slot s, or in
  the slot t where the chunk has fewer queries than the window has keys.

  Returns:
    `(index_p, kept_p)`: its place in `[J, SLOTS]`, and whether it is one.
  """
  pair_p = tl.arange(0, c.pairs)
  short_p = s * c.NS + pair_p // c.NQ
  query_p = pair_p % c.NQ
  key_p = start + short_p + query_p
  kept_p = (key_p >= 0) & (key_p < c.S) & (short_p < c.w1)
  kept_p &= (local + query_p < c.CHUNK) & (first + query_p < c.T)
  slot_p = short_p if c.w1 <= c.CHUNK else local + query_p
  return (local + query_p + short_p) * c.slots + slot_p, kept_p
