"""How a case of the op is laid out in tiles: what a kernel is compiled for."""

import dataclasses
import math

LOG2_E = math.log2(math.e)


@dataclasses.dataclass(frozen=True)
class Tiles:
  """Shapes, settings and blocks of one kernel, all known when it is compiled.

  Attributes:
    B, T, S, H, G: sizes of the axes.
    D: channels, a power of two from 16.
    SCALE: factor of the logits.
    LOG_EPSILON: see `pruning`.
    SEGMENTS: whether there are segments.
    EDGE: whether some query has a first key that is not the first of all.
    ONLINE: whether a block of queries stops where it has forgotten the rest.
    M: queries of a tile.
    N: keys of a tile.
    CHUNK: tiles between two looks at whether to stop; fewer stop earlier, and
      each look waits for the loads that follow it.
    PARTS: programs that share the heads of a key head.
    PRECISION: how products of float32 are made.
  """

  B: int
  T: int
  S: int
  H: int
  G: int
  D: int
  SCALE: float
  LOG_EPSILON: float
  SEGMENTS: bool = False
  EDGE: bool = False
  ONLINE: bool = False
  M: int = 16
  N: int = 16
  CHUNK: int = 2
  PARTS: int = 1
  PRECISION: str = "ieee"

  @property
  def heads(self) -> int:
    """Heads that share a key head."""
    return self.H // self.G

  @property
  def past(self) -> int:
    """Keys before the first query."""
    return self.S - self.T

  @property
  def query_blocks(self) -> int:
    return -(-self.T // self.M)

  @property
  def key_blocks(self) -> int:
    return -(-self.S // self.N)

  @property
  def ragged_queries(self) -> bool:
    """The last tile of queries sticks out."""
    return self.T % self.M != 0

  @property
  def ragged_keys(self) -> bool:
    """The last tile of keys sticks out."""
    return self.S % self.N != 0

  @property
  def phases(self) -> int:
    """Loops of the forward kernel: diagonal, inside, and the other edge."""
    return 3 if self.EDGE else 2

  @property
  def logits_scale(self) -> float:
    """For exponentials in base two."""
    return self.SCALE * LOG2_E

  @property
  def bound_scale(self) -> float:
    """What the lengths of a query and a key are multiplied by for a bound."""
    return abs(self.logits_scale)

  @property
  def log2_e(self) -> float:
    return LOG2_E

  @property
  def log2_epsilon(self) -> float:
    return self.LOG_EPSILON * LOG2_E
