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


class Result(NamedTuple):
  """An array on one device; `dtype` is as XLA writes it."""

  shape: tuple[int, ...]
  dtype: str
  bytes: int


class Collective(NamedTuple):
  """One operation between devices.

  Attributes:
    kind: one of `KINDS`.
    results: XLA puts several arrays into one operation.
    axes: that are put together, of a gather.
  """

  kind: str
  results: Sequence[Result]
  axes: tuple[int, ...] = ()

  @property
  def largest(self) -> Result:
    return max(self.results, key=lambda x: x.bytes, default=Result((), "", 0))


def read(program: str) -> Sequence[Collective]:
  """The collectives in the text of a compiled program, as they come.

  One in the body of a loop is there once.
  """
  return [found for line in program.splitlines() if (found := _read(line))]


def _read(line: str) -> Collective | None:
  if fused := _FUSED.search(line):
    return Collective("reduce-scatter", _results(fused[1]))
  match = _LINE.search(line)
  if match is None:
    return None
  results, kind, _, rest = match.groups()
  axes = re.search(r"dimensions=\{([\d,]*)\}", rest)
  axes = _integers(axes[1]) if axes and kind == "all-gather" else ()
  return Collective(kind, _results(results), axes)


def _results(text: str) -> Sequence[Result]:
  found = _ARRAY.findall(re.sub(r"\{[^}]*\}", "", text))
  arrays = [(_integers(shape), dtype) for dtype, shape in found]
  return [Result(shape, dtype, _bytes(shape, dtype)) for shape, dtype in arrays]


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
    and sums of arrays with such an axis. Of each, the arrays that are meant.
  """
  lengths = {
    math.prod(shape[: i + 1]) for shape in batches for i in range(len(shape))
  }
  exempt = {_core(shape) for shape in exempt}

  def has_rows(shape, axes):
    rows = any(shape[i] in lengths for i in axes if i < len(shape))
    return rows and _core(shape) not in exempt

  whole = []
  for x in found:
    if x.kind in ("all-gather", "all-reduce"):
      results = [
        r for r in x.results if has_rows(r.shape, x.axes or range(len(r.shape)))
      ]
      whole += [x._replace(results=results)] if results else []
  return whole


def _core(shape: Sequence[int]) -> tuple[int, ...]:
  """Without order, and without axes of one: layouts change both."""
  return tuple(sorted(n for n in shape if n > 1))
