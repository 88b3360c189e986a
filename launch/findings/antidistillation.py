"""What is said of antidistillation sampling: the claims of a report."""

from collections.abc import Sequence

import numpy as np

from launch.findings import (
  antidistillation_pictures as pictures,
  antidistillation_runs as runs,
)
from trainers import claims
from trainers.reports import Claim, Report

GAP = 20.0  # points below temperature sampling that are claimed
CHEAP = 5.0  # points that a redundant teacher may lose
COSTLY = 0.9  # raw accuracy at which it is compared
PAPER = {
  "temperature": "GSM8K, teacher at 70 %: 25 % against 61 % of clean traces",
  "random": "not in the paper",
  "permutation": "far weaker (Fig. 6)",
}


def report(found: runs.Found) -> Report:
  """The claims beside what was found."""
  regimes = range(len(found.regimes))
  return Report(
    title="Antidistillation sampling: traces that spoil a student",
    summary=(
      f"{found.subject} Curves show the student's accuracy, on unseen "
      "questions, against the teacher's, as a penalty or the temperature "
      "grows. "
      "Answer-forced counts an answer that the model gives, greedily and "
      "without a penalty, when it is made to after its own reasoning. "
      "Intervals are 95 %, over seeds of proxy, student and draws."
    ),
    claims=[
      *_matched_claims(found, 0),
      *(c for r in regimes[1:] for c in _redundant_claims(found, r)),
      *_loss_claims(found),
      *(_epsilon_claims(found) if found.differences else ()),
      *(_attacker_claims(found) if "adaptive" in found.cells else ()),
    ],
    figures=[
      pictures.curves(found, 0, "forced"),
      *(pictures.curves(found, r, "raw") for r in regimes),
      *([pictures.epsilons(found)] if found.differences else ()),
      pictures.losses(found),
    ],
    tables=[
      pictures.at_equal_teachers(found),
      *(pictures.every_sampler(found, r) for r in regimes),
      *([pictures.fingerprints(found)] if "fingerprint" in found.cells else ()),
      pictures.traces(found),
    ],
    notes=_notes(found),
  )


def _matched_claims(found: runs.Found, r: int) -> list[Claim]:
  made = []
  where = found.regimes[r]
  for target in found.matched:
    for arm, margin in (
      ("temperature", GAP),
      ("permutation", 0),
      ("random", 0),
    ):
      gap = runs.matched(found, arm, r, "forced", 100 * target) - runs.matched(
        found, "antidistillation", r, "forced", 100 * target
      )
      least = f"by {margin:.0f} points or more" if margin else "at all"
      made.append(
        claims.measured(
          f"With a teacher at {100 * target:.0f} % ({where}), the student is "
          f"below that of {runs.ARMS[arm]} {least}",
          gap,
          lambda x, margin=margin: x.low >= margin and x.low > 0,
          paper=PAPER[arm],
          unit="points",
          size=_size(found),
        )
      )
  return made


def _size(found: runs.Found) -> str:
  return f"{len(runs.before(found, 0, 'raw'))} seeds"


def _redundant_claims(found: runs.Found, r: int) -> list[Claim]:
  """Where a teacher's answers do not hang on its reasoning."""
  cell = _cheapest(found, r)
  nats = found.cells["antidistillation"][cell]["nats"]
  student = runs.percent(found, "antidistillation", r, "student", "forced")
  target = 100 * COSTLY
  gap = runs.matched(found, "temperature", r, "raw", target) - runs.matched(
    found, "antidistillation", r, "raw", target
  )
  where = found.regimes[r].capitalize()
  return [
    claims.measured(
      f"{where}: a penalty of {nats:g} nats, which costs the teacher at most "
      f"{CHEAP:.0f} points, leaves the student below where it began: the "
      "difference",
      student[:, cell] - runs.before(found, r, "forced"),
      lambda x: x.high < 0,
      paper="GSM8K: 25 % against 31 %, teacher from 91 to 70 %",
      unit="points",
      size=_size(found),
    ),
    claims.measured(
      f"{where}: with a teacher at {target:.0f} %, raw, the student is below "
      "that of temperature",
      gap,
      lambda x: x.low > 0,
      unit="points",
      size=_size(found),
    ),
  ]


def _cheapest(found: runs.Found, r: int) -> int:
  """The largest penalty that costs the teacher few points of raw accuracy."""
  plain = runs.percent(found, "temperature", r, "teacher", "raw")[:, 0].mean()
  raw_C = runs.percent(found, "antidistillation", r, "teacher", "raw").mean(0)
  cheap = np.flatnonzero(raw_C >= plain - CHEAP)
  return int(cheap[-1]) if len(cheap) else 0


def _loss_claims(found: runs.Found) -> list[Claim]:
  cell = runs.strongest(found)
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


def _epsilon_claims(found: runs.Found) -> list[Claim]:
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


def _attacker_claims(found: runs.Found) -> list[Claim]:
  """At the penalty, among those of the adaptive student, nearest to a match."""
  nats = [cell["nats"] for cell in found.cells["antidistillation"]]
  both = [nats.index(cell["nats"]) for cell in found.cells["adaptive"]]
  teacher_C = runs.percent(found, "adaptive", 0, "teacher", "forced").mean(0)
  cell = int(np.abs(teacher_C - 100 * found.matched[0]).argmin())
  plain = runs.percent(found, "antidistillation", 0, "student", "forced")
  adaptive = runs.percent(found, "adaptive", 0, "student", "forced")
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


def _notes(found: runs.Found) -> Sequence[str]:
  return [
    "The penalty is quoted in nats: 99 % of lambda |Delta|, over held-out "
    "tokens, are below. The paper's lambda is in units of one over the squared "
    "length of a gradient that it does not normalise, and differs between its "
    "figures and its code.",
    "The random direction has the length of the gradient in each leaf and the "
    "same nats. The paper's control, a permutation over the vocabulary, breaks "
    "what a student can learn from errors: that they are systematic. A random "
    "direction keeps it, and shows what the gradient itself adds.",
    "Each regime has one teacher. Accuracy of the teacher is that of the very "
    "traces that are learned from.",
    *(_toy_notes(*found.steps) if found.steps else ()),
  ]


def _toy_notes(proxy_S: np.ndarray, student_S: np.ndarray) -> Sequence[str]:
  return [
    f"Proxies stopped at their accuracy after {proxy_S.mean():.0f} steps on "
    f"average, students after {student_S.mean():.0f}.",
    "A vocabulary of a dozen tokens has a hundred bigrams, so keys differ by "
    "chance: fingerprints are judged against keys that were not used.",
  ]
