"""What the Triton kernels share: tiles, gates, masks and bounds.

Only the kernels import this module, since it needs triton.

Axes: m queries of a tile, n keys of a tile, D channels. Logits, decays and
normalisers are in base two. `c` is `tiles.Tiles`.
"""

import triton
import triton.language as tl


@triton.jit
def query_block(c: tl.constexpr):
  """The `(b, head, key head, block of queries)` of this program.

  Neighbours share their keys; the longest rows of a head come first, so that
  what runs last is short.
  """
  pid = tl.program_id(0)
  head = pid % c.heads
  pid = pid // c.heads
  block = c.query_blocks - 1 - pid % c.query_blocks
  pid = pid // c.query_blocks
  g = pid % c.G
  return pid // c.G, g * c.heads + head, g, block


@triton.jit
def key_tiles(least, most, b, head, block, c: tl.constexpr):
  """Tiles of keys that a block of queries sees.

  Returns:
    `(lo, in_lo, in_hi, hi)`: some query sees a key of the tiles lo..hi; those
    from in_lo to in_hi are seen whole by every query, so they need no mask.
  """
  first = block * c.M
  hi = (tl.minimum(first + c.M, c.T) - 1 + c.past) // c.N + 1
  in_hi = (first + c.past + 1) // c.N
  if not c.EDGE:
    return 0, 0, in_hi, hi
  index = (b * c.H + head) * c.query_blocks + block
  lo = tl.minimum(tl.load(least + index) // c.N, hi)
  in_hi = tl.maximum(in_hi, lo)
  in_lo = tl.minimum(tl.cdiv(tl.load(most + index), c.N), in_hi)
  return lo, tl.maximum(in_lo, lo), in_hi, hi


@triton.jit
def query_tiles(whole, stop, b, head, tile, c: tl.constexpr):
  """The blocks of queries that see a tile of keys, as `key_tiles`."""
  key = tile * c.N - c.past
  lo = tl.maximum(key, 0) // c.M
  in_lo = tl.minimum(tl.cdiv(tl.maximum(key + c.N - 1, 0), c.M), c.query_blocks)
  if not c.EDGE:
    return lo, in_lo, c.query_blocks, c.query_blocks
  index = (b * c.H + head) * c.key_blocks + tile
  hi = tl.maximum(tl.load(stop + index), lo)
  in_lo = tl.minimum(in_lo, hi)
  in_hi = tl.minimum(tl.load(whole + index), hi)
  return lo, in_lo, tl.maximum(in_hi, in_lo), hi


@triton.jit
def load_rows(
  x,
  b,
  first,
  head,
  ROWS: tl.constexpr,
  LENGTH: tl.constexpr,
  HEADS: tl.constexpr,
  MASKED: tl.constexpr,
  c: tl.constexpr,
):
  """Rows of D channels of one head from `first`; zeros behind the last."""
  i = tl.arange(0, ROWS)
  # Large offsets are 64-bit scalars; those inside of a block fit in 32 bits.
  x += ((b * LENGTH + first).to(tl.int64) * HEADS + head) * c.D
  x_iD = x + (i * (HEADS * c.D))[:, None] + tl.arange(0, c.D)[None, :]
  if MASKED:
    return tl.load(x_iD, mask=(first + i < LENGTH)[:, None], other=0.0)
  return tl.load(x_iD)


@triton.jit
def store_rows(
  x,
  x_iD,
  b,
  first,
  head,
  ROWS: tl.constexpr,
  LENGTH: tl.constexpr,
  HEADS: tl.constexpr,
  c: tl.constexpr,
):
  """The inverse of `load_rows`."""
  i = tl.arange(0, ROWS)
  x += ((b * LENGTH + first).to(tl.int64) * HEADS + head) * c.D
  to_iD = x + (i * (HEADS * c.D))[:, None] + tl.arange(0, c.D)[None, :]
  tl.store(to_iD, x_iD, mask=(first + i < LENGTH)[:, None])


@triton.jit
def load_gates(high, low, b, head, position, c: tl.constexpr):
  """Both parts of the prefix sums at positions; behind the last, of the last.

  So that no decay of a row or column outside is larger than those inside.
  """
  index = (b * c.H + head).to(tl.int64) * c.S + tl.minimum(position, c.S - 1)
  return tl.load(high + index), tl.load(low + index)


@triton.jit
def decay(high_q, low_q, high_k, low_k, c: tl.constexpr):
  """See `gates.decay`; in base two."""
  return ((high_q - high_k) + (low_q - low_k)) * c.log2_e


@triton.jit
def sees(position, start, segment, key, key_segment, c: tl.constexpr):
  """Which keys each query sees: a row by a column, either way round."""
  sees = key <= position
  if c.EDGE:
    sees &= key >= start
  if c.SEGMENTS:
    sees &= segment == key_segment
  return sees


@triton.jit
def load_starts(start, b, head, query_m, c: tl.constexpr):
  """First key of each query; anything of its shape where it is the first."""
  if not c.EDGE:
    return query_m
  index = (b * c.H + head) * c.T + query_m
  return tl.load(start + index, mask=query_m < c.T, other=0)


@triton.jit
def load_segments(segments, b, position, LENGTH: tl.constexpr, c: tl.constexpr):
  """Segments at positions; anything of their shape where there are none."""
  if not c.SEGMENTS:
    return position
  index = b * LENGTH + position
  return tl.load(segments + index, mask=position < LENGTH, other=-3)
