"""What is said of antidistillation sampling: claims, figures and tables."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from simplex.sampling import fingerprint
from trainers import claims, figures
from trainers.figures import Series
from trainers.intervals import Interval, interval
from trainers.reports import Claim, Figure, Report, Table

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
GAP = 20.0  # points below temperature sampling that are claimed
KINDS = {"raw": "raw", "forced": "answer-forced"}


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    errors: of each regime.
    cells: arm to the settings of its cells.
    results: arm to results as in `protected_traces.Result`, arrays
      `[regimes, seeds, cells, ...]`.
    steps: of proxies and of students until they stopped, `[seeds]` each.
    matched: accuracies of the teacher at which students are compared.
    epsilons: that were tried, `[epsilons]`.
    differences: dtype to the error of finite differences,
      `[seeds, epsilons]`.
    evaluations: steps at which the held-out loss was evaluated.
  """

  errors: Sequence[float]
  cells: Mapping[str, Sequence[Mapping[str, float]]]
  results: Mapping[str, Any]
  steps: tuple[np.ndarray, np.ndarray]
  matched: Sequence[float]
  epsilons: np.ndarray
  differences: Mapping[str, np.ndarray]
  evaluations: Sequence[int]


def report(found: Found) -> Report:
  """The claims beside what was found."""
  regimes = range(len(found.errors))
  return Report(
    title="Antidistillation sampling: traces that spoil a student",
    summary=(
      "A teacher reasons aloud about sums; a student is fine-tuned on what it "
      "writes. Curves show the student's accuracy, on unseen questions, "
      "against the teacher's, as a penalty or the temperature grows. "
      "Answer-forced counts an answer that the model gives, greedily and "
      "without a penalty, when it is made to after its own reasoning. "
      "Intervals are 95 %, over seeds of proxy, student and draws."
    ),
    claims=[
      *_matched_claims(found, 0),
      *(c for r in regimes[1:] for c in _redundant_claims(found, r)),
      *_loss_claims(found),
      *_epsilon_claims(found),
      *_attacker_claims(found),
    ],
    figures=[
      *(_curve_figure(found, r, "forced") for r in regimes),
      _curve_figure(found, 0, "raw"),
      _epsilon_figure(found),
      *_loss_figures(found),
    ],
    tables=[
      _matched_table(found),
      *(_cell_table(found, r) for r in regimes),
      _fingerprint_table(found),
      _trace_table(found),
    ],
    notes=_notes(found),
  )


def regime(found: Found, r: int) -> str:
  """What a teacher learned from, in a few words."""
  if not found.errors[r]:
    return "every step counts"
  return f"redundant teacher ({100 * found.errors[r]:.0f} % errors in training)"


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


def _matched_claims(found: Found, r: int) -> list[Claim]:
  made = []
  for target in found.matched:
    for arm, margin in (
      ("temperature", GAP),
      ("permutation", 0),
      ("random", 0),
    ):
      where = f"a teacher at {100 * target:.0f} % ({regime(found, r)})"
      gap = matched(found, arm, r, "forced", 100 * target) - matched(
        found, "antidistillation", r, "forced", 100 * target
      )
      least = f"by {margin:.0f} points or more" if margin else "at all"
      made.append(
        claims.measured(
          f"With {where}, the student is below that of {ARMS[arm]} {least}",
          gap,
          lambda x, margin=margin: x.low >= margin and x.low > 0,
          paper=PAPER.get((arm, target)),
          unit="points",
          size=_size(found),
        )
      )
  return made


PAPER = {
  ("temperature", 0.6): "GSM8K: at 70 %, student 25 % against 61 %",
  ("random", 0.6): "not in the paper",
  ("random", 0.8): "not in the paper",
  ("permutation", 0.6): "far weaker (Fig. 6)",
  ("permutation", 0.8): "far weaker (Fig. 6)",
}


def _size(found: Found) -> str:
  return f"{len(found.steps[0])} seeds"


def _redundant_claims(found: Found, r: int) -> list[Claim]:
  made = []
  for target in found.matched:
    student = matched(found, "antidistillation", r, "forced", 100 * target)
    made.append(
      claims.measured(
        f"With a teacher at {100 * target:.0f} % ({regime(found, r)}), the "
        "student ends below where it began: the difference",
        student - before(found, r, "forced"),
        lambda x: x.high < 0,
        paper="GSM8K: 25 % against 31 %, teacher at 70 %",
        unit="points",
        size=_size(found),
      )
    )
  return made


def _strongest(found: Found, r: int = 0) -> int:
  """The cell whose teacher is nearest to the first matched accuracy."""
  teacher = percent(found, "antidistillation", r, "teacher", "forced").mean(0)
  return int(np.abs(teacher - 100 * found.matched[0]).argmin())


def _loss_claims(found: Found) -> list[Claim]:
  cell = _strongest(found)
  result = found.results["antidistillation"]
  losses, held_out = result.losses[0, :, cell], result.held_out[0, :, cell]
  tail = max(losses.shape[1] // 5, 1)
  fall = losses[:, -tail:].mean(1) - losses[:, :tail].mean(1)
  return [
    claims.measured(
      f"The loss of training on poisoned traces {verb}: last against first",
      change,
      holds,
      paper="Fig. 5",
      unit="nats",
      size=_size(found),
    )
    for verb, change, holds in (
      ("falls", fall, lambda x: x.high < 0),
      (
        "falls, while that of held-out traces rises",
        held_out[:, -1] - held_out[:, 0],
        lambda x: x.low > 0,
      ),
    )
  ]


def _epsilon_claims(found: Found) -> list[Claim]:
  best = {d: x.min(1) for d, x in found.differences.items()}
  at = {d: found.epsilons[x.argmin(1)] for d, x in found.differences.items()}
  ratio = np.log10(at["bfloat16"] / at["float32"])
  return [
    claims.measured(
      "In float32 a finite difference at its best step is within |sin| = 0.01 "
      "of the exact derivative",
      best["float32"],
      lambda x: x.high < 0.01,
      paper="V-shaped in the step (Fig. 7)",
      size=_size(found),
    ),
    claims.measured(
      "bfloat16 needs a larger step: decades between the two best",
      ratio,
      lambda x: x.low > 0,
      paper="1e-2 for bfloat16, of a gradient that is not normalised",
      unit="decades",
      size=_size(found),
    ),
  ]


def _attacker_claims(found: Found) -> list[Claim]:
  """At the penalty, among those of the adaptive student, nearest to a match."""
  nats = [cell["nats"] for cell in found.cells["antidistillation"]]
  both = [nats.index(cell["nats"]) for cell in found.cells["adaptive"]]
  teacher_C = percent(found, "adaptive", 0, "teacher", "forced").mean(0)
  cell = int(np.abs(teacher_C - 100 * found.matched[0]).argmin())
  plain = percent(found, "antidistillation", 0, "student", "forced")
  adaptive = percent(found, "adaptive", 0, "student", "forced")
  return [
    claims.measured(
      "A student that weighs its traces by what they do to its loss of a few "
      "clean ones recovers: its gain over one that does not, with a teacher at "
      f"{teacher_C[cell]:.0f} %",
      adaptive[:, cell] - plain[:, both[cell]],
      lambda x: x.low > 0,
      paper="not in the paper; an adaptive student recovers much "
      "(arXiv 2605.22737)",
      unit="points",
      size=_size(found),
    )
  ]


def _curve_figure(found: Found, r: int, kind: str) -> Figure:
  series = {}
  for arm in CURVES:
    teacher, student = curve(found, arm, r, kind)
    x, y = teacher.mean(0), interval(student)
    order = np.argsort(x)
    series[ARMS[arm]] = Series(x[order], *(end[order] for end in _ends(y)))
  return figures.lines(
    f"Teacher and student, {KINDS[kind]}: {regime(found, r)}",
    series,
    xlabel=f"accuracy of the teacher's traces, % ({KINDS[kind]})",
    ylabel="accuracy of the student, %",
    references={"not distilled": float(before(found, r, kind).mean())},
    caption="Each point is a strength of the penalty, or a temperature. Right "
    "and low is what a teacher wants. Means and 95 % intervals over seeds.",
  )


def _ends(x: Interval) -> tuple:
  """Mean and ends, within what an accuracy can be."""
  return x.mean, np.clip(x.low, 0, 100), np.clip(x.high, 0, 100)


def _epsilon_figure(found: Found) -> Figure:
  return figures.lines(
    "The step of a finite difference",
    {
      dtype: Series(
        found.epsilons, errors.mean(0), errors.min(0), errors.max(0)
      )
      for dtype, errors in found.differences.items()
    },
    xlabel="step along a direction of length 1",
    ylabel="|sin| of the angle to the exact derivative",
    log_x=True,
    log_y=True,
    caption="The paper's Fig. 7, for weights and activations of two dtypes: "
    "rounding on the left, curvature on the right. Mean, least and largest "
    "over proxies.",
  )


def _loss_figures(found: Found) -> list[Figure]:
  cell = _strongest(found)
  poisoned, clean = found.results["antidistillation"], found.results
  losses = {
    "poisoned, training": (poisoned, cell, "losses"),
    "poisoned, held out": (poisoned, cell, "held_out"),
    "clean, training": (clean["temperature"], 0, "losses"),
    "clean, held out": (clean["temperature"], 0, "held_out"),
  }
  series = {}
  for name, (result, at, what) in losses.items():
    values = getattr(result, what)[0, :, at]
    x = np.arange(1, values.shape[1] + 1)
    if what == "held_out":
      x = np.array(found.evaluations)
    else:
      x, values = _thinned(x, values)
    series[name] = Series(x, *interval(values))
  nats = found.cells["antidistillation"][cell]["nats"]
  return [
    figures.lines(
      "Training on poisoned traces",
      series,
      xlabel="steps of the student",
      ylabel="nats per token",
      log_y=True,
      caption=f"The paper's Fig. 5, with a penalty of {nats:g} nats: held-out "
      "traces are clean. Training losses are means of ten steps.",
    )
  ]


def _thinned(x, values, every=10):
  """Means of groups of steps."""
  count = max(len(x) // every, 1)
  parts = np.array_split(np.arange(len(x)), count)
  means = np.stack([values[:, p].mean(1) for p in parts], axis=1)
  return np.array([x[p].mean() for p in parts]), means


def _matched_table(found: Found) -> Table:
  rows = []
  for r in range(len(found.errors)):
    for kind in KINDS:
      for target in found.matched:
        for arm in CURVES:
          y = interval(matched(found, arm, r, kind, 100 * target))
          base = before(found, r, kind).mean()
          rows.append(
            (regime(found, r), KINDS[kind], 100 * target, ARMS[arm])
            + (y.mean, y.low, y.high, base)
          )
  return Table(
    "Students at equal teachers",
    ("regime", "accuracy", "teacher, %", "sampler")
    + ("student, %", "low", "high", "not distilled, %"),
    rows,
    caption="Linear between the cells below; a dash where a sampler does not "
    "reach so far. Not distilled is the student before.",
  )


def _cell_table(found: Found, r: int) -> Table:
  rows = []
  for arm, cells in found.cells.items():
    for c, cell in enumerate(cells):
      row = [ARMS[arm], setting(cell)]
      for who in ("teacher", "student"):
        for kind in ("raw", "forced"):
          row.append(percent(found, arm, r, who, kind)[:, c].mean())
      x = interval(percent(found, arm, r, "student", "forced")[:, c])
      row.append((x.high - x.low) / 2)
      row.append(percent(found, arm, r, "teacher", "steps")[:, c].mean())
      rows.append(tuple(row))
  return Table(
    f"Every sampler: {regime(found, r)}",
    ("sampler", "setting", "teacher raw", "teacher forced", "student raw")
    + ("student forced", "±", "teacher's steps"),
    rows,
    caption="Per cent of answers, and of steps of the reasoning, that are "
    "right; means over seeds, and half the 95 % interval.",
  )


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


def _fingerprint_table(found: Found) -> Table:
  rows = []
  cells = [("temperature", 0)]
  cells += [("fingerprint", c) for c in range(len(found.cells["fingerprint"]))]
  for r in range(len(found.errors)):
    for arm, c in cells:
      green_SK = found.results[arm].green[r, :, c]
      values = [fingerprint.rank_p_value(row[0], row[1:]) for row in green_SK]
      rows.append(
        (
          regime(found, r),
          found.cells[arm][c]["green"],
          percent(found, arm, r, "teacher", "forced")[:, c].mean(),
          percent(found, arm, r, "student", "forced")[:, c].mean(),
          100 * green_SK[:, 0].mean(),
          100 * green_SK[:, 1:].mean(),
          float(np.median(values)),
          float(np.max(values)),
        )
      )
  return Table(
    "Fingerprints",
    ("regime", "weight", "teacher, %", "student, %", "green, %")
    + ("other keys, %", "median p", "largest p"),
    rows,
    caption="Antidistillation fingerprinting (arXiv 2602.03812): the share of "
    "green tokens that the distilled student writes at temperature 1, by the "
    "secret key and by keys that were not used, and how likely it is to be "
    "that large by chance, over seeds.",
  )


def _trace_table(found: Found) -> Table:
  rows = []
  for r in range(len(found.errors)):
    for arm, c in (("temperature", 0), ("antidistillation", _strongest(found))):
      texts = found.results[arm].traces[r, 0, c]
      modulus = texts.max()
      rows.append(
        (
          f"{regime(found, r)}, {setting(found.cells[arm][c])}",
          "   ".join(
            "".join("=" if t == modulus else str(t) for t in text)
            for text in texts
          ),
        )
      )
  return Table(
    "Traces",
    ("sampler", "the first completions of the first seed"),
    rows,
    caption="Running sums, and the answer after the sign.",
    monospace=True,
  )


def _notes(found: Found) -> Sequence[str]:
  proxy, student = (f"{x.mean():.0f}" for x in found.steps)
  return [
    "The penalty is quoted in nats: 99 % of lambda |Delta|, over held-out "
    "tokens, are below. The paper's lambda is in units of one over the squared "
    "length of a gradient that it does not normalise, and differs between its "
    "figures and its code.",
    "The random direction has the length of the gradient in each leaf and the "
    "same nats. The paper's control, a permutation over the vocabulary, breaks "
    "what a student can learn from errors: that they are systematic. A random "
    "direction keeps it, and shows what the gradient itself adds.",
    f"Proxies stopped at their accuracy after {proxy} steps on average, "
    f"students after {student}. Each regime has one teacher. Accuracy of the "
    "teacher is that of the very traces that are learned from.",
    "A vocabulary of a dozen tokens has a hundred bigrams, so keys differ by "
    "chance: fingerprints are judged against keys that were not used.",
  ]
