"""What is said of abrupt learning: claims, figures and tables."""

import numpy as np

from launch.findings import (
  abrupt_learning_pictures as pictures,
  abrupt_learning_runs as plateaus,
)
from launch.findings.abrupt_learning_pictures import TITLES, Found
from launch.findings.abrupt_learning_runs import Run
from simplex.analysis import plateau
from trainers import claims
from trainers.reports import Claim, Report, Table

REST = 0.05  # nats around the level in closed form


def report(found: Found) -> Report:
  """The claims beside what was found."""
  base = found.runs["base"]
  return Report(
    title="Abrupt learning: what happens during a loss plateau",
    summary=(
      f"A small GPT, {base.parameters:,} parameters, sums windows of "
      f"{found.window} of {found.length} numbers modulo {found.modulus}. Its "
      "loss rests and then drops. Meanwhile it repeats itself, its hidden "
      "states are alike, and its attention moves. Intervals are 95 %, over "
      f"{len(base.loss)} seeds of the base and those of each other run."
    ),
    claims=[
      *_plateau_claims(found),
      *_inside_claims(found),
      *_intervention_claims(found),
      *_task_claims(found),
    ],
    figures=[
      pictures.loss(found),
      pictures.inside(base),
      pictures.drop(base),
      *pictures.interventions(found),
      *pictures.tasks(found),
    ],
    tables=[_table(found)],
    notes=_notes(),
  )


def _claim(text: str, values, holds, **kwargs) -> Claim:
  """About the seeds in which there is a value."""
  return claims.measured(text, plateaus.finite(values), holds, **kwargs)


def _size(run: Run) -> str:
  steps = f"{run.parameters:,} parameters, {run.steps[-1]:,} steps"
  return f"{steps}, {len(run.loss)} seeds"


def _plateau_claims(found: Found) -> list[Claim]:
  """The drop of the base, and what it answers before it."""
  run = found.runs["base"]
  all_of = plateaus.of(run, found.window)
  sizes = (found.length, found.window, found.modulus)
  level = plateau.moving_sum_levels(*sizes).answers
  data = plateau.moving_sum_repetition(*sizes)
  common = {"size": _size(run)}
  solved = np.isfinite(all_of.drop)
  return [
    Claim(
      f"The loss drops: {solved.sum()} of {len(solved)} seeds solve the task",
      ours=100 * solved.mean(),
      unit="%",
      holds=bool(solved.mean() >= 0.95),
      **common,
    ),
    _claim(
      "While copies are known and sums are not, the loss of the answers is "
      f"within {REST} of its closed form, {level:.3f} (the paper's size: "
      "2.656)",
      all_of.mean_loss,
      lambda x: level - REST <= x.low and x.high <= level + REST,
      unit="nats",
      **common,
    ),
    _claim(
      "A partial solution comes first: steps for which copies are right and "
      "sums are at chance",
      all_of.length,
      lambda x: x.low > 0,
      unit="steps",
      paper="a plateau",
      **common,
    ),
    _claim(
      "The model repeats itself before the drop: the peak share of repeated "
      f"answers (true answers: {data:.3f})",
      all_of.repetition,
      lambda x: x.low > 0.4,
      paper=0.8,
      **common,
    ),
    _claim(
      "Repetition ends with the plateau: share at the end less that of true "
      "answers",
      run.repetition[solved, -1] - data,
      lambda x: -0.02 < x.low and x.high < 0.02,
      **common,
    ),
  ]


def _inside_claims(found: Found) -> list[Claim]:
  """Hidden states and attention of the base, before the drop and after."""
  run = found.runs["base"]
  all_of = plateaus.of(run, found.window)
  common = {"size": _size(run)}
  solved = np.isfinite(all_of.drop)
  return [
    _claim(
      "Hidden states collapse before the drop: their peak cosine",
      all_of.cosine,
      lambda x: x.low > 0.9,
      paper=0.95,
      **common,
    ),
    _claim(
      "The collapse ends with the plateau: cosine at the end",
      run.cosine[solved, -1],
      lambda x: x.high < 0.1,
      **common,
    ),
    _claim(
      "Attention is ahead of accuracy: steps between their half times",
      all_of.lead,
      lambda x: x.low > 0,
      unit="steps",
      paper="progress during the plateau",
      **common,
    ),
    _claim(
      "Attention ends at the optimum: its share on the right keys",
      run.progress[solved, -1],
      lambda x: x.low >= 0.7,
      paper=0.8,
      **common,
    ),
  ]


# Name to: when it drops, what the paper says of that, and the sign of its drop
# less that of the base; 0 is no change.
_DROPS = {
  "gain_10": ("earlier", "faster", -1),
  "gain_0.2": ("later", "longer", 1),
  "KQ": ("earlier", None, -1),
  "KQOV": ("earlier", None, -1),
  "MLP": ("as the base", "unchanged", 0),
  "Emb": ("as the base", "unchanged", 0),
}
# What the paper says of the peak cosine where there is less of a collapse.
_COSINES = {"gain_10": 0.6, "KQ": 0.45, "KQOV": 0.15}
UNCHANGED = 0.25  # of the base's time, within which a drop is unchanged


def _intervention_claims(found: Found) -> list[Claim]:
  base = found.runs["base"]
  base_peak = plateaus.of(base, found.window).cosine
  made = []
  for name in found.interventions:
    run, title = found.runs[name], TITLES[name]
    peak = plateaus.of(run, found.window).cosine
    if name in _DROPS:
      made.append(_drop_claim(title, run, base, *_DROPS[name]))
    if name in _COSINES:
      made.append(
        _claim(
          f"{title}: hidden states collapse less; peak cosine less the base's",
          peak - base_peak[: len(peak)],
          lambda x: x.high < 0,
          paper=f"cosine {_COSINES[name]}",
          size=_size(run),
        )
      )
    if name not in _DROPS:
      made.append(
        _claim(
          f"{title}: hidden states collapse too; peak cosine{_never(run)}",
          peak,
          lambda x: x.low > 0.9,
          paper="the same collapse" if name == "softmax" else None,
          size=_size(run),
        )
      )
  return made


def _drop_claim(title, run, base, when, said, sign) -> Claim:
  """Whether the drop is earlier, later or where it was.

  A seed that does not drop counts with the last step: at least as late. The
  same seeds of the base are subtracted.
  """
  seeds = len(run.loss)
  late, before = _drops_or_end(run), _drops_or_end(base)
  shift = late - before[:seeds]
  never = np.isnan(plateaus.drops(run)).any()
  near = UNCHANGED * before.mean()
  holds = {
    -1: lambda x: x.high < 0 and not never,
    0: lambda x: -near < x.low and x.high < near and not never,
    1: lambda x: x.low > 0,
  }[sign]
  return _claim(
    f"{title}: it drops {when}; steps against the base{_never(run)}",
    shift,
    holds,
    unit="steps",
    paper=said,
    size=_size(run),
  )


def _never(run: Run) -> str:
  """Says of how many seeds no drop was seen."""
  never = np.isnan(plateaus.drops(run)).sum()
  if not never:
    return ""
  return f" ({never} of {len(run.loss)} seeds do not drop)"


def _drops_or_end(run: Run) -> np.ndarray:
  at = plateaus.drops(run)
  return np.where(np.isnan(at), run.steps[-1], at)


def _task_claims(found: Found) -> list[Claim]:
  made = []
  base = _drops_or_end(found.runs["base"]).mean()
  for name, run in found.runs.items():
    if name == "base" or name in found.interventions:
      continue
    title = TITLES[name]
    if name in ("copy", "reverse", "repeat"):
      made.append(
        _claim(
          f"{title}: learnt without a wait; its drop over the base's",
          _drops_or_end(run) / base,
          lambda x: x.high < 0.5,
          paper="no plateau" if name == "repeat" else None,
          size=_size(run),
        )
      )
    else:
      made.append(
        _claim(
          f"{title}: hidden states collapse before it drops; peak cosine"
          f"{_never(run)}",
          plateaus.of(run, 1).cosine,
          lambda x: x.low > 0.7,
          paper=0.8 if name == "prefix" else None,
          size=_size(run),
        )
      )
  return made


def _table(found: Found) -> Table:
  rows = []
  for name, run in found.runs.items():
    window = found.window if name in found.interventions else 1
    window = found.window if name == "base" else window
    all_of = plateaus.of(run, window)
    at, lead = plateaus.finite(all_of.drop), plateaus.finite(all_of.lead)
    spread = [np.median(at), at.min(), at.max()] if len(at) else [np.nan] * 3
    rows.append(
      (
        TITLES[name],
        len(run.loss),
        len(at),
        *map(float, spread),
        float(lead.mean()) if len(lead) else np.nan,
        float(all_of.cosine.mean()),
        float(all_of.repetition.mean()),
        float(run.true_repetition.mean()),
        float(run.entropy[:, -1].mean()),
        float(run.progress[:, -1].mean()),
        float(run.solved[:, -1].mean()),
      )
    )
  return Table(
    "All runs",
    (
      "run",
      "seeds",
      "drop",
      "median step",
      "first",
      "last",
      "lead of attention",
      "peak cosine",
      "peak repetition",
      "true repetition",
      "entropy, end",
      "progress, end",
      "accuracy, end",
    ),
    rows,
    caption="Peaks are before the drop, or in the whole run where there is "
    "none. Entropy is of the tokens of an answer, in nats.",
  )


def _notes() -> list[str]:
  return [
    "The plateau in the loss is a slope at small sizes: the copies are not yet "
    "certain when they count as known, which adds to the closed form, and sums "
    "are being learnt before any is right.",
    "The official code measures attention progress with a mask that is off by "
    "one for windows of 3: it has two of the three keys of each sum. On a map "
    "that is optimal, with equal weights on 16 numbers, it reads 0.68; ours "
    "reads 1.",
    "Repetition is of answers that the model continues by itself. It jumps "
    "from one test to the next: before the drop all answers are about as "
    "likely, and the likeliest changes.",
    "Frozen parts come from a trained base of another seed, the rest from "
    "fresh draws. The paper sees no change from a frozen optimal feed-forward "
    "layer and head.",
  ]
