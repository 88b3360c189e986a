"""Block sizes of the GPU kernels, and which of them there are to choose from.

`TABLE` is all of it that depends on a device: a tuning command measures
`candidates(case)` through `gpu_triton.make` and rewrites the table whole.
"""

from typing import NamedTuple


class Case(NamedTuple):
  """What block sizes depend on.

  Attributes:
    kernel: "forward", "backward_q" or "backward_kv".
    D: channels, padded.
    terms: terms of the query, 1 or 2.
    bytes: of one number of the inputs.
    heads: whether the heads of one key fill a tile.
  """

  kernel: str
  D: int
  terms: int
  bytes: int
  heads: bool


class Sizes(NamedTuple):
  """Block sizes of one kernel.

  Attributes:
    rows: of (short key, query, head) in a tile.
    keys: second keys in a tile.
    warps: of a program.
    stages: tiles that are on their way at a time.
  """

  rows: int
  keys: int
  warps: int
  stages: int


# Heads per key head from which they alone make the rows of a tile.
MANY_HEADS = 64

DEFAULT = {
  "forward": Sizes(64, 64, 4, 2),
  "backward_q": Sizes(64, 64, 8, 2),
  "backward_kv": Sizes(64, 64, 8, 1),
}


def choose(case: Case) -> Sizes:
  return DEFAULT[case.kernel]
