"""Block sizes of the GPU kernels, and which there are to choose from.

The table, all that depends on a device, is a file of its own: a tuning command
measures each of `candidates(case)` and writes it again whole.
"""

from typing import NamedTuple

from simplex.kernels import triton_sizes
from simplex.kernels.simplicial_attention import size_table
from simplex.kernels.triton_sizes import Sizes


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


# Heads per key head that make the rows of a tile by themselves, or a multiple.
MANY_HEADS = 64

# By device, then by a case or the beginning of one; the longest entry counts.
#
# None of these is measured on a GPU yet. They were chosen so that compiled
# kernels do not spill registers; float32 with 256 channels still does. Hopper
# multiplies by groups of four warps and 64 rows, and what it multiplies by can
# stay in shared memory. Where there is no room for 64 rows, as with 256
# channels or float32, it does what Ampere does.
TABLE = size_table.TABLE


def case_of(kernel: str, bytes: int, D: int, plain: bool, heads: int) -> Case:
  """The case of `D` padded channels and of `heads` heads per key head."""
  return Case(kernel, bytes, max(64, D), plain, heads % MANY_HEADS == 0)


def choose(case: Case, device: str = "") -> Sizes:
  """The sizes for a case on a device, by the name that it has in JAX."""
  return triton_sizes.choose(TABLE, case, device)


def candidates(case: Case) -> list[Sizes]:
  """Sizes worth measuring for a case: those whose registers can suffice."""
  return triton_sizes.candidates(case, _fits)


def _fits(case: Case, size: Sizes) -> bool:
  """Whether accumulators leave a third of the registers to all else."""
  wide = size.keys if case.kernel == "backward_kv" else size.rows
  accumulators = 2 * wide * case.D + 2 * size.rows * size.keys
  # Tiles on their way, in at most 163 KiB of shared memory.
  tiles = 2 * size.stages * size.keys * case.D * case.bytes
  registers = 255 * 32 * size.warps
  return 3 * accumulators <= 2 * registers and tiles <= 163 * 1024
