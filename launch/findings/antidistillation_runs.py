"""What was measured of antidistillation sampling, and how it is read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

ARMS = {
  "before": "not distilled",
  "temperature": "temperature",
  "antidistillation": "antidistillation",
  "random": "random direction",
  "permutation": "permutation",
  "product": "product of experts",
  "flipped": "sign flipped",
  "adaptive": "adaptive student",
  "fingerprint": "fingerprint",
}
CURVES = ("temperature", "permutation", "product", "random", "antidistillation")
DTYPES = ("float32", "bfloat16")
KINDS = {"raw": "raw", "forced": "answer-forced"}


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    subject: what teacher and student do, a sentence.
    regimes: what the teacher of each learned from, in a few words.
    cells: arm to the settings of its cells; some arms may not be there.
    results: arm to results as in `protected_traces.Result`, arrays
      `[regimes, seeds, cells, ...]`.
    read: what a trace says, from what the results have of it.
    matched: accuracies of the teacher at which students are compared.
    epsilons: that were tried, `[epsilons]`.
    differences: dtype to the error of finite differences,
      `[seeds, epsilons]`; empty where none was measured.
    evaluations: steps at which the held-out loss was evaluated.
    steps: of proxies and of students until they stopped, `[seeds]` each; None
      where they were not trained here.
  """

  subject: str
  regimes: Sequence[str]
  cells: Mapping[str, Sequence[Mapping[str, float]]]
  results: Mapping[str, Any]
  read: Callable[[Any], str]
  matched: Sequence[float]
  epsilons: np.ndarray
  differences: Mapping[str, np.ndarray]
  evaluations: Sequence[int]
  steps: tuple[np.ndarray, np.ndarray] | None = None


def regime(errors: float) -> str:
  """What a toy's teacher learned from, in a few words."""
  if not errors:
    return "every step counts"
  return f"redundant teacher ({100 * errors:.0f} % errors in training)"


def curves(found: Found) -> Sequence[str]:
  """The arms that are drawn, of those that there are."""
  return [arm for arm in CURVES if arm in found.cells]


def percent(found: Found, arm: str, r: int, who: str, kind: str) -> np.ndarray:
  """Accuracy `[seeds, cells]` of "teacher" or "student" in per cent."""
  return 100 * getattr(getattr(found.results[arm], who), kind)[r]


def before(found: Found, r: int, kind: str) -> np.ndarray:
  """Accuracy of students that were not distilled, in per cent, `[seeds]`."""
  return percent(found, "before", r, "student", kind)[:, 0]


def curve(found: Found, arm: str, r: int, kind: str) -> tuple:
  """Accuracy of teacher and student, `[seeds, cells]`, with the common start.

  Every penalty begins where there is none.
  """
  both = [percent(found, arm, r, who, kind) for who in ("teacher", "student")]
  if arm == "temperature":
    return tuple(both)
  return tuple(
    np.hstack([percent(found, "temperature", r, who, kind)[:, :1], x])
    for who, x in zip(("teacher", "student"), both, strict=True)
  )


def matched(
  found: Found, arm: str, r: int, kind: str, target: float
) -> np.ndarray:
  """The student's accuracy where the teacher's is `target`, `[seeds]`.

  Linear between cells, at the first crossing as the penalty grows; NaN where
  the cells do not reach so far.
  """
  return np.array(
    [
      _crossing(x, y, target)
      for x, y in zip(*curve(found, arm, r, kind), strict=True)
    ]
  )


def _crossing(teacher_C, student_C, target):
  below = np.flatnonzero(teacher_C <= target)
  if not len(below) or below[0] == 0:
    return np.nan
  i = below[0]
  span = slice(i - 1, i + 1)
  order = np.argsort(teacher_C[span])
  return np.interp(target, teacher_C[span][order], student_C[span][order])


def strongest(found: Found, r: int = 0) -> int:
  """The cell whose teacher is nearest to the first matched accuracy."""
  teacher = percent(found, "antidistillation", r, "teacher", "forced").mean(0)
  return int(np.abs(teacher - 100 * found.matched[0]).argmin())


def setting(cell: Mapping[str, float]) -> str:
  """What distinguishes a cell: `tau 0.6, nats 8`."""
  names = {
    "random_nats": "nats",
    "shuffled_nats": "nats",
    "product": "share",
    "green": "weight",
  }
  parts = [
    f"{names.get(name, name)} {value:g}"
    for name, value in cell.items()
    if (value or name == "tau") and name != "learns"
  ]
  return ", ".join(parts)
