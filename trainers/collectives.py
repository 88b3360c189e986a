"""What devices tell each other in a compiled program, read from its text."""

from collections.abc import Iterable, Sequence
import math
import re
from typing import NamedTuple

KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)
BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128}
_LINE = re.compile(rf"= (.*?) ({'|'.join(KINDS)})(-start)?\((.*)")
_ARRAY = re.compile(r"\b([a-z]+\d*[a-z0-9]*)\[([\d,]*)\]")
# XLA:TPU: what is added up and then cut, in one operation.
_FUSED = re.compile(r"= (.*?) fusion\(.*calls=%all-reduce-scatter")


class Collective(NamedTuple):
  """One operation between devices.

  Attributes:
    kind: one of `KINDS`.
    shape: of its largest result on one device.
    dtype: of that, as XLA writes it.
    bytes: of that.
    axes: that are put together, of a gather.
  """

  kind: str
  shape: tuple[int, ...]
  dtype: str
  bytes: int
  axes: tuple[int, ...] = ()


def read(program: str) -> Sequence[Collective]:
  """The collectives in the text of a compiled program, as they come.

  One in the body of a loop is there once.
  """
  return [found for line in program.splitlines() if (found := _read(line))]


def _read(line: str) -> Collective | None:
  if fused := _FUSED.search(line):
    return Collective("reduce-scatter", *_largest(fused[1]))
  match = _LINE.search(line)
  if match is None:
    return None
  results, kind, _, rest = match.groups()
  axes = re.search(r"dimensions=\{([\d,]*)\}", rest)
  axes = _integers(axes[1]) if axes and kind == "all-gather" else ()
  return Collective(kind, *_largest(results), axes)


def _largest(text: str) -> tuple[tuple[int, ...], str, int]:
  arrays = [
    (_integers(shape), dtype)
    for dtype, shape in _ARRAY.findall(re.sub(r"\{[^}]*\}", "", text))
  ]
  sized = [(shape, dtype, _bytes(shape, dtype)) for shape, dtype in arrays]
  return max(sized, key=lambda x: x[2], default=((), "token", 0))


def _bytes(shape: Sequence[int], dtype: str) -> int:
  digits = re.search(r"\d+", dtype)
  bits = BITS.get(dtype) or (int(digits[0]) if digits else 8)
  return math.prod(shape) * bits // 8


def _integers(text: str) -> tuple[int, ...]:
  return tuple(map(int, filter(None, text.split(","))))


def whole_batches(
  found: Iterable[Collective],
  batches: Iterable[Sequence[int]],
  exempt: Iterable[Sequence[int]],
) -> Sequence[Collective]:
  """The collectives that leave all rows of a batch on every device.

  Args:
    found: the collectives of a program.
    batches: shapes of the arrays of the whole batch, or that it comes from.
    exempt: shapes of arrays without rows that may be gathered: parameters.

  Returns:
    Gathers along an axis as long as the batch, or as its first axes together;
    and sums of arrays with such an axis.
  """
  lengths = {
    math.prod(shape[: i + 1]) for shape in batches for i in range(len(shape))
  }
  exempt = {_core(shape) for shape in exempt}

  def has_rows(x):
    axes = x.axes if x.kind == "all-gather" else range(len(x.shape))
    return any(x.shape[i] in lengths for i in axes)

  return [
    x
    for x in found
    if x.kind in ("all-gather", "all-reduce")
    and has_rows(x)
    and _core(x.shape) not in exempt
  ]


def _core(shape: Sequence[int]) -> tuple[int, ...]:
  """Without order, and without axes of one: layouts change both."""
  return tuple(sorted(n for n in shape if n > 1))
