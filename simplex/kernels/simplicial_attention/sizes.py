"""Block sizes of the GPU kernels, and which there are to choose from.

`TABLE` is all that depends on a device. A tuning command measures, for a case,
each of `candidates(case)` with `gpu_triton.make(lambda case: size)`, and writes
the table again whole.
"""

import itertools
from typing import NamedTuple


class Case(NamedTuple):
  """What block sizes depend on, the most important first.

  Attributes:
    kernel: "forward", "backward_q" or "backward_kv".
    bytes: of one number of the inputs.
    D: channels, padded: 64, 128 or 256.
    plain: one term, no bias and no segments: registers for larger tiles.
    heads: whether the heads of one key fill a tile by themselves.
  """

  kernel: str
  bytes: int
  D: int
  plain: bool
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


# Heads per key head that make the rows of a tile by themselves, or a multiple.
MANY_HEADS = 64

# None of these is measured on a GPU: see `candidates`. They were chosen so that
# compiled kernels do not spill registers; float32 with 256 channels still does.
# Hopper multiplies by groups of four warps and 64 rows, and what it multiplies
# by can stay in shared memory. Where there is no room for 64 rows, as with 256
# channels or float32, it does what Ampere does.
HOPPER = {
  ("forward", 2, 64): Sizes(64, 64, 4, 2),
  ("forward", 2, 128): Sizes(64, 32, 4, 2),
  ("forward", 2, 128, False, False): Sizes(64, 32, 8, 2),
  ("forward", 2, 128, True): Sizes(64, 64, 4, 2),
  ("backward_q", 2, 64): Sizes(64, 32, 4, 2),
  ("backward_q", 2, 128): Sizes(64, 32, 8, 2),
  ("backward_q", 2, 128, False, False): Sizes(64, 16, 8, 2),
  ("backward_q", 2, 128, True, True): Sizes(64, 64, 8, 2),
  ("backward_kv", 2, 64): Sizes(64, 64, 8, 2),
  ("backward_kv", 2, 128): Sizes(32, 64, 8, 1),
  ("backward_kv", 2, 128, True): Sizes(32, 128, 8, 2),
}
# By device, then by a case or the beginning of one; the longest entry counts.
TABLE = {
  "H100": HOPPER,
  "H200": HOPPER,
  "default": {
    ("forward", 2, 64): Sizes(64, 64, 4, 2),
    ("forward", 2, 128): Sizes(64, 64, 8, 2),
    ("forward", 2, 256): Sizes(32, 64, 8, 2),
    ("forward", 4, 64): Sizes(32, 32, 4, 2),
    ("forward", 4, 128): Sizes(32, 32, 8, 1),
    ("forward", 4, 256): Sizes(16, 16, 8, 1),
    ("backward_q", 2, 64): Sizes(32, 64, 4, 2),
    ("backward_q", 2, 128): Sizes(32, 64, 8, 2),
    ("backward_q", 2, 256): Sizes(32, 32, 8, 2),
    ("backward_q", 4, 64): Sizes(32, 32, 8, 2),
    ("backward_q", 4, 128): Sizes(16, 32, 8, 2),
    ("backward_q", 4, 256): Sizes(16, 16, 8, 1),
    ("backward_kv", 2, 64): Sizes(32, 64, 8, 2),
    ("backward_kv", 2, 128): Sizes(32, 32, 4, 2),
    ("backward_kv", 2, 256): Sizes(16, 16, 8, 2),
    ("backward_kv", 2, 256, True): Sizes(16, 32, 8, 2),
    ("backward_kv", 4, 64): Sizes(16, 32, 8, 2),
    ("backward_kv", 4, 128): Sizes(16, 16, 8, 2),
    ("backward_kv", 4, 256): Sizes(16, 16, 8, 1),
  },
}


def case_of(kernel: str, bytes: int, D: int, plain: bool, heads: int) -> Case:
  """The case of `D` padded channels and of `heads` heads per key head."""
  return Case(kernel, bytes, max(64, D), plain, heads % MANY_HEADS == 0)


def choose(case: Case, device: str = "") -> Sizes:
  """The sizes for a case on a device, by the name that it has in JAX."""
  name = next((name for name in TABLE if name in device), "default")
  for table in (TABLE[name], TABLE["default"]):
    for length in range(len(case), 0, -1):
      if case[:length] in table:
        return table[case[:length]]
  raise KeyError(case)


def candidates(case: Case) -> list[Sizes]:
  """Sizes worth measuring for a case: those whose registers can suffice."""
  grid = itertools.product(
    (16, 32, 64, 128), (16, 32, 64, 128), (4, 8), (1, 2, 3)
  )
  return [size for size in itertools.starmap(Sizes, grid) if _fits(case, size)]


def _fits(case: Case, size: Sizes) -> bool:
  """Whether accumulators leave a third of the registers to all else."""
  wide = size.keys if case.kernel == "backward_kv" else size.rows
  accumulators = 2 * wide * case.D + 2 * size.rows * size.keys
  # Tiles on their way, in at most 163 KiB of shared memory.
  tiles = 2 * size.stages * size.keys * case.D * case.bytes
  registers = 255 * 32 * size.warps
  return 3 * accumulators <= 2 * registers and tiles <= 163 * 1024
