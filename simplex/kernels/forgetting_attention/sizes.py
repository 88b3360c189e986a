"""Block sizes of the GPU kernels, and which there are to choose from.

The table, all that depends on a device, is a file of its own: a tuning command
measures each of `candidates(case)` and writes it again whole.
"""

from typing import NamedTuple

from simplex.kernels import triton_sizes
from simplex.kernels.forgetting_attention import size_table
from simplex.kernels.triton_sizes import Sizes


class Case(NamedTuple):
  """What block sizes depend on, the most important first.

  Attributes:
    kernel: "forward", "backward_q" or "backward_kv".
    bytes: of one number of the inputs.
    D: channels, padded: 64, 128 or 256.
  """

  kernel: str
  bytes: int
  D: int


# None of these is measured on a GPU yet. They were chosen so that compiled
# kernels do not spill registers, with segments and online pruning too. Hopper
# multiplies by groups of four warps and 64 rows.
TABLE = size_table.TABLE


def case_of(kernel: str, bytes: int, D: int) -> Case:
  """The case of `D` padded channels."""
  return Case(kernel, bytes, max(64, D))


def choose(case: Case, device: str = "") -> Sizes:
  """The sizes for a case on a device, by the name that it has in JAX."""
  return triton_sizes.choose(TABLE, case, device)


def candidates(case: Case) -> list[Sizes]:
  """Sizes worth measuring for a case: those whose registers can suffice."""
  return triton_sizes.candidates(case, _fits)


def _fits(case: Case, size: Sizes) -> bool:
  """Whether accumulators leave a fifth of the registers to all else."""
  if case.kernel == "backward_kv":
    sums, moving = 2 * size.keys, size.rows
  else:
    sums, moving = size.rows, size.keys
  products = 1 if case.kernel == "forward" else 2
  accumulators = sums * case.D + products * size.rows * size.keys
  # Tiles on their way, in at most 163 KiB of shared memory.
  tiles = 2 * size.stages * moving * case.D * case.bytes
  registers = 255 * 32 * size.warps
  return 5 * accumulators <= 4 * registers and tiles <= 163 * 1024
