"""How a case of the op is laid out in tiles: what a kernel is compiled for."""

import dataclasses
import math

from simplex.kernels import triton_sizes

LOG2_E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class Tiles:
  """Shapes, settings and blocks of one kernel, all known when it is compiled.

  Strides that are known are what lets the compiler load 16 bytes at a time, and
  in JAX they always are.

  Attributes:
    B, T, S, R, H, G: sizes of the axes.
    D: channels, a power of two from 16.
    TERMS: terms of the query and of the first key, side by side.
    PLUS: the terms are added, not multiplied.
    BEFORE1, AFTER1, BEFORE2, AFTER2: keys seen before and after a query.
    SEGMENTS: whether there are segments.
    SCALE: factor of the logits.
    NS, NQ, NH: short keys, queries and heads that make the rows of a tile.
    N: second keys of a tile.
    PARTS1, PARTS2: programs that share the loops of one block.
    CHUNK: queries of one call, in backward_q.
    PRECISION: how products of float32 are made.
  """

  B: int
  T: int
  S: int
  R: int
  H: int
  G: int
  D: int
  TERMS: int
  PLUS: bool
  BEFORE1: int
  AFTER1: int
  BEFORE2: int
  AFTER2: int
  SEGMENTS: bool
  SCALE: float
  NS: int = 1
  NQ: int = 1
  NH: int = 1
  N: int = 16
  PARTS1: int = 1
  PARTS2: int = 1
  CHUNK: int = 0
  PRECISION: str = "ieee"

  @property
  def w1(self) -> int:
    return self.BEFORE1 + self.AFTER1 + 1

  @property
  def w2(self) -> int:
    return self.BEFORE2 + self.AFTER2 + 1

  @property
  def rows(self) -> int:
    """Rows of a tile."""
    return self.NS * self.NQ * self.NH

  @property
  def pairs(self) -> int:
    """Pairs of a short key and a query in a tile."""
    return self.NS * self.NQ

  @property
  def head_blocks(self) -> int:
    return self.H // self.G // self.NH

  @property
  def query_blocks(self) -> int:
    return -(-self.T // self.NQ)

  @property
  def short_blocks(self) -> int:
    return -(-self.w1 // self.NS)

  @property
  def flat(self) -> bool:
    """One block holds all short keys."""
    return self.w1 <= self.NS

  @property
  def wide(self) -> bool:
    """The query is too wide for registers, and loaded when it is needed."""
    return (self.TERMS + self.PLUS) * self.D > 128

  @property
  def masked_logit(self) -> float:
    """What becomes -inf when the scale multiplies it."""
    return float("inf") if self.SCALE < 0 else float("-inf")

  @property
  def slots(self) -> int:
    """Queries of one chunk that can see one short key."""
    return min(self.w1, self.CHUNK)

  @property
  def keys(self) -> int:
    """Short keys that some query of one chunk can see."""
    return self.CHUNK + self.w1 - 1

  @property
  def chunk_blocks(self) -> int:
    return -(-self.CHUNK // self.NQ)

  @property
  def phases(self) -> int:
    """Loops over the long window: tiles with a mask, then those without."""
    return 1 if self.SEGMENTS else 2

  @property
  def logits_scale(self) -> float:
    """For exponentials in base two.

    A scale of zero becomes too small to change any logit, so that zero never
    meets a masked logit, which is infinite.
    """
    return (self.SCALE or 1e-30) * LOG2_E


def packing(rows: int, heads: int, w1: int, T: int) -> dict[str, int]:
  """The heads, short keys and queries that make a tile of `rows` rows.

  A power of two of the heads that share a key, then short keys, then queries:
  short keys cost nothing, while each more query makes the union of the long
  windows one key longer. Odd factors of `heads` are blocks of their own.
  """
  NH = math.gcd(heads, rows)
  most = min(rows // NH, triton_sizes.power_of_two(w1))
  NQ = min(rows // NH // most, triton_sizes.power_of_two(T))
  return {"NS": rows // NH // NQ, "NQ": NQ, "NH": NH}
