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
    plain: neither segments nor online pruning: registers for larger tiles.
  """

  kernel: str
  bytes: int
  D: int
  plain: bool


# None of these is measured on a GPU yet. They were chosen so that compiled
# kernels do not spill registers.
TABLE = size_table.TABLE


def case_of(kernel: str, bytes: int, D: int, plain: bool) -> Case:
  """The case of `D` padded channels."""
  return Case(kernel, bytes, max(64, D), plain)


def choose(case: Case, device: str = "") -> Sizes:
  """The sizes for a case on a device, by the name that it has in JAX."""
  return triton_sizes.choose(TABLE, case, device)


def candidates(case: Case) -> list[Sizes]:
  """Sizes worth measuring for a case: those whose registers can suffice."""
  return triton_sizes.candidates(case, _fits)


def _fits(case: Case, size: Sizes) -> bool:
  """Whether accumulators leave a quarter of the registers to all else."""
  tiles = {"forward": 1, "backward_q": 2, "backward_kv": 2}[case.kernel]
  sums = {
    "forward": size.rows,
    "backward_q": size.rows,
    "backward_kv": 2 * size.keys,
  }[case.kernel]
  accumulators = sums * case.D + tiles * size.rows * size.keys
  # Tiles on their way, in at most 163 KiB of shared memory.
  moving = size.rows if case.kernel == "backward_kv" else size.keys
  memory = 2 * size.stages * moving * case.D * case.bytes
  registers = 255 * 32 * size.warps
  return 4 * accumulators <= 3 * registers and memory <= 163 * 1024
