"""What is said of abrupt learning: claims, figures and tables."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from simplex.analysis import plateau
from trainers import figures
from trainers.figures import Series
from trainers.intervals import interval
from trainers.reports import Claim, Figure, Report, Table

TITLES = {
  "base": "base",
  "gain_10": "attention x 10 at its optimum",
  "gain_0.2": "attention x 0.2 at its optimum",
  "KQ": "optimal keys and queries",
  "KQOV": "optimal attention",
  "MLP": "optimal feed-forward and output",
  "Emb": "optimal embeddings and output",
  "softmax": "softmax attention",
  "answers": "loss of the answers alone",
  "init_4": "initial weights x 4",
  "muon": "Muon",
  "sgd": "SGD with momentum",
  "window_3": "moving sum, k = 3",
  "prefix": "prefix sum",
  "addition": "addition",
  "permutation": "permutation",
  "histogram": "histogram",
  "copy": "copy",
  "reverse": "reverse",
  "repeat": "repeat the first",
}
SOLVED = 0.5  # accuracy at which the loss is said to have dropped
COPIED = 0.9  # accuracy of the copied answers from which they count as known
CHANCE = 0.12  # accuracy below which the sums count as unknown
REST = 0.05  # nats around the level in closed form


class Run(NamedTuple):
  """What was followed in all seeds of one training, `[seeds, evals]`.

  Attributes:
    steps: of the evals, `[evals]`.
    parameters: of the model.
    loss: of all predicted tokens.
    answer_loss: of the answers.
    accuracy: of each answer, `[seeds, evals, M]`.
    repetition: of the model's answers.
    true_repetition: of the true answers.
    entropy: of the model's answers.
    cosine: between hidden states.
    progress: of attention.
  """

  steps: np.ndarray
  parameters: int
  loss: np.ndarray
  answer_loss: np.ndarray
  accuracy: np.ndarray
  repetition: np.ndarray
  true_repetition: np.ndarray
  entropy: np.ndarray
  cosine: np.ndarray
  progress: np.ndarray

  @property
  def solved(self) -> np.ndarray:
    """Accuracy over all answers."""
    return self.accuracy.mean(-1)


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    length: n of the moving sums.
    window: k.
    modulus: p.
    runs: name to run; "base" is there, interventions and tasks may be.
    interventions: the names that share their task with the base.
  """

  length: int
  window: int
  modulus: int
  runs: Mapping[str, Run]
  interventions: tuple[str, ...]


class Plateau(NamedTuple):
  """Of each seed; NaN where it does not come to that."""

  start: np.ndarray  # step at which the copies are known
  drop: np.ndarray  # step at which half of the answers are right
  mean_loss: np.ndarray  # of the answers, while only the copies are known
  length: np.ndarray  # steps for which only the copies are known
  rest_accuracy: np.ndarray  # of the sums, the mean over that time
  repetition: np.ndarray  # peak before the drop
  cosine: np.ndarray  # peak before the drop
  lead: np.ndarray  # half time of accuracy less that of attention progress


def drops(run: Run) -> np.ndarray:
  """The step at which each seed answers half of all, `[seeds]`."""
  return np.array([plateau.crossing(run.steps, x, SOLVED) for x in run.solved])


def leads(run: Run) -> np.ndarray:
  """By how many steps attention is ahead; NaN for seeds that do not drop."""
  half = lambda curves: np.array(
    [plateau.half_time(run.steps, x) for x in curves]
  )
  lead = half(run.solved) - half(run.progress)
  return np.where(np.isnan(drops(run)), np.nan, lead)


def plateaus(run: Run, window: int) -> Plateau:
  """The plateau of each seed of a moving sum."""
  copies = run.accuracy[:, :, : max(window - 1, 1)].mean(-1)
  sums = run.accuracy[:, :, window - 1 :].mean(-1)
  inside = (copies >= COPIED) & (sums < CHANCE)
  before = run.steps <= np.nan_to_num(drops(run), nan=np.inf)[:, None]
  # Before the first step the answers of a model say nothing.
  before &= run.steps > 0
  mean = lambda x: (
    np.where(inside, x, 0).sum(1)
    / np.where(inside.any(1), inside.sum(1), np.nan)
  )
  peak = lambda x: np.where(before, x, -np.inf).max(1)
  every = run.steps[1] - run.steps[0]
  return Plateau(
    start=np.array([plateau.crossing(run.steps, x, COPIED) for x in copies]),
    drop=drops(run),
    mean_loss=mean(run.answer_loss),
    length=every * inside.sum(1),
    rest_accuracy=mean(sums),
    repetition=peak(run.repetition),
    cosine=peak(run.cosine),
    lead=leads(run),
  )


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
      *_intervention_claims(found),
      *_task_claims(found),
    ],
    figures=[
      _loss_figure(found),
      _inside_figure(base),
      _drop_figure(base),
      *_intervention_figures(found),
      *_task_figures(found),
    ],
    tables=[_table(found)],
    notes=_notes(),
  )


def _finite(values) -> np.ndarray:
  values = np.asarray(values, float)
  return values[np.isfinite(values)]


def _claim(text: str, values, holds, **kwargs) -> Claim:
  """A claim about the finite values; not measured where there is none."""
  values = _finite(values)
  if not len(values):
    return Claim(text, **kwargs)
  ours = interval(values)
  known = not np.isnan(ours.low)
  ends = ours if known else ours._replace(low=ours.mean, high=ours.mean)
  return Claim(
    text,
    ours=ours.mean,
    interval=(ours.low, ours.high) if known else None,
    holds=bool(holds(ends)),
    **kwargs,
  )


def _size(run: Run) -> str:
  steps = f"{run.parameters:,} parameters, {run.steps[-1]:,} steps"
  return f"{steps}, {len(run.loss)} seeds"


def _plateau_claims(found: Found) -> list[Claim]:
  run = found.runs["base"]
  all_of = plateaus(run, found.window)
  sizes = (found.length, found.window, found.modulus)
  level = plateau.moving_sum_levels(*sizes).answers
  data = plateau.moving_sum_repetition(*sizes)
  common = {"size": _size(run)}
  end = run.repetition[:, -1][np.isfinite(all_of.drop)]
  cosine = run.cosine[:, -1][np.isfinite(all_of.drop)]
  return [
    _claim(
      "The loss drops: seeds that solve the task",
      100.0 * np.isfinite(all_of.drop),
      lambda x: x.mean >= 95,
      unit="%",
      paper="every run shown",
      **common,
    ),
    _claim(
      "While copies are known and sums are not, the loss of the answers is "
      f"within {REST} of its closed form, {level:.3f} (the paper's size: "
      "2.656)",
      all_of.mean_loss,
      lambda x: level - REST <= x.low and x.high <= level + REST,
      unit="nats",
      paper=None,
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
      end - data,
      lambda x: -0.02 < x.low and x.high < 0.02,
      paper="as in the data",
      **common,
    ),
    _claim(
      "Hidden states collapse before the drop: their peak cosine",
      all_of.cosine,
      lambda x: x.low > 0.9,
      paper=0.95,
      **common,
    ),
    _claim(
      "The collapse ends with the plateau: cosine at the end",
      cosine,
      lambda x: x.high < 0.1,
      paper="near 0",
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
      run.progress[:, -1][np.isfinite(all_of.drop)],
      lambda x: x.low >= 0.7,
      paper=0.8,
      **common,
    ),
  ]


# Name to: what the paper says of it, and the sign of drop - drop of the base
# that it means; 0 is no change.
_SAID = {
  "gain_10": ("earlier", -1),
  "gain_0.2": ("later", 1),
  "KQ": ("earlier", -1),
  "KQOV": ("earlier still", -1),
  "MLP": ("unchanged", 0),
  "Emb": ("unchanged", 0),
}
UNCHANGED = 0.25  # of the base's time, within which a drop is unchanged


def _intervention_claims(found: Found) -> list[Claim]:
  base = found.runs["base"]
  center = interval(_finite(drops(base))).mean if _any(base) else np.nan
  claims = []
  for name in found.interventions:
    run = found.runs[name]
    peak = plateaus(run, found.window).cosine
    if name in _SAID:
      said, sign = _SAID[name]
      claims.append(_drop_claim(name, run, base, center, said, sign))
    elif name in ("softmax", "muon", "sgd", "init_4", "answers"):
      claims.append(
        _claim(
          f"{TITLES[name]}: hidden states collapse too: their peak cosine",
          peak,
          lambda x: x.low > 0.9,
          paper="yes" if name in ("softmax", "muon", "sgd") else None,
          size=_size(run),
        )
      )
  return claims


def _any(run: Run) -> bool:
  return bool(np.isfinite(drops(run)).any())


def _drop_claim(name, run, base, center, said, sign) -> Claim:
  """Whether the drop is earlier, later or where it was.

  A seed that does not drop counts with the last step: at least as late. The
  same seeds of the base are subtracted.
  """
  late = lambda x: np.where(np.isnan(drops(x)), x.steps[-1], drops(x))
  seeds = len(run.loss)
  shift = late(run) - late(base)[:seeds]
  never = int(np.isnan(drops(run)).sum())
  more = f" ({never} of {seeds} seeds do not drop)" if never else ""
  near = UNCHANGED * center
  holds = {
    -1: lambda x: x.high < 0,
    0: lambda x: -near < x.low and x.high < near,
    1: lambda x: x.low > 0,
  }[sign]
  return _claim(
    f"{TITLES[name]}: the drop is {said}; steps against the base{more}",
    shift,
    holds,
    unit="steps",
    paper=said,
    size=_size(run),
  )


def _task_claims(found: Found) -> list[Claim]:
  claims = []
  for name, run in found.runs.items():
    if name == "base" or name in found.interventions:
      continue
    if name in ("copy", "reverse", "repeat"):
      claims.append(
        _claim(
          f"{TITLES[name]}: learnt without the base's wait; its drop over the "
          "base's",
          drops(run) / np.nanmean(drops(found.runs["base"])),
          lambda x: x.high < 0.5,
          paper="no plateau",
          size=_size(run),
        )
      )
    else:
      claims.append(
        _claim(
          f"{TITLES[name]}: hidden states collapse before the drop: their peak "
          "cosine",
          plateaus(run, 1).cosine,
          lambda x: x.low > 0.7,
          paper=0.8 if name == "prefix" else "yes",
          size=_size(run),
        )
      )
  return claims


def _series(run: Run, curves) -> Series:
  return Series(run.steps, *interval(curves))


def _loss_figure(found: Found) -> Figure:
  run = found.runs["base"]
  levels = plateau.moving_sum_levels(found.length, found.window, found.modulus)
  return figures.lines(
    "Loss",
    {
      "answers": _series(run, run.answer_loss),
      "all tokens": _series(run, run.loss),
    },
    xlabel="steps",
    ylabel="nats, unseen examples",
    references={
      f"{levels.answers:.3f}": levels.answers,
      f"{levels.total:.3f}": levels.total,
      f"{levels.floor:.3f}": levels.floor,
    },
    caption="Mean over seeds and its 95 % interval. Dashed, in closed form: "
    "answers and all tokens while only copies are known, and all tokens when "
    "all is known. Seeds drop at different steps, which rounds the mean.",
  )


def aligned(run: Run, curves: np.ndarray) -> Series:
  """Mean over seeds of curves against the time since each one's drop."""
  at = drops(run)
  seeds = np.flatnonzero(np.isfinite(at))
  every = run.steps[1] - run.steps[0]
  back = -every * int(np.min(at[seeds]) // every)
  ahead = every * int((run.steps[-1] - np.max(at[seeds])) // every)
  x = np.arange(back, ahead + every, every)
  shifted = [np.interp(x + at[i], run.steps, curves[i]) for i in seeds]
  return Series(x, *interval(shifted))


def _inside_figure(run: Run) -> Figure:
  curves = {
    "accuracy": run.solved,
    "attention progress": run.progress,
    "cosine": run.cosine,
    "repetition": run.repetition,
  }
  enough = np.isfinite(drops(run)).sum() > 1
  draw = aligned if enough else _series
  return figures.lines(
    "What happens around the drop",
    {name: draw(run, values) for name, values in curves.items()},
    xlabel="steps since each seed's drop" if enough else "steps",
    ylabel="share, or cosine",
    references={"repetition of true answers": run.true_repetition.mean()},
    caption="Each seed's curves are shifted by the step at which it answers "
    "half of all; mean and 95 % interval over the seeds that get there.",
  )


def _drop_figure(run: Run) -> Figure:
  at = np.sort(_finite(drops(run)))
  share = np.arange(1, len(at) + 1) / len(run.loss)
  lead = np.sort(_finite(leads(run)))
  series = {
    "drop": Series(at, share),
    "lead of attention": Series(lead, np.arange(1, len(lead) + 1) / len(lead)),
  }
  empty = {"no seed drops": Series(run.steps, np.zeros(len(run.steps)))}
  return figures.lines(
    "When the loss drops",
    series if len(at) else empty,
    xlabel="steps",
    ylabel="share of seeds",
    points=tuple(series),
    caption="The steps at which seeds answer half of all, and by how many steps "
    "attention is ahead, each in ascending order.",
  )


def _runs_figure(title: str, found: Found, names, caption: str) -> list[Figure]:
  if not names:
    return []
  runs = {TITLES[name]: found.runs[name] for name in names}
  return [
    figures.lines(
      title,
      {name: _series(run, run.solved) for name, run in runs.items()},
      xlabel="steps",
      ylabel="accuracy",
      caption=caption,
    )
  ]


def _intervention_figures(found: Found) -> list[Figure]:
  names = ("base", *found.interventions) if found.interventions else ()
  return _runs_figure(
    "Interventions", found, names, "Mean and 95 % interval over seeds."
  )


def _task_figures(found: Found) -> list[Figure]:
  skip = ("base", *found.interventions)
  names = [name for name in found.runs if name not in skip]
  return _runs_figure(
    "Other tasks", found, names, "Mean and 95 % interval over seeds."
  )


def _table(found: Found) -> Table:
  rows = []
  for name, run in found.runs.items():
    window = found.window if name in found.interventions else 1
    window = found.window if name == "base" else window
    all_of = plateaus(run, window)
    at, lead = _finite(all_of.drop), _finite(all_of.lead)
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
    "The official code measures attention progress with a mask that is off by "
    "one for windows of 3: it has two of the three keys of each sum. On a map "
    "that is optimal, with equal weights on 16 numbers, it reads 0.68; ours "
    "reads 1.",
    "Repetition is of answers that the model continues by itself. It jumps from "
    "one evaluation to the next: before the drop all answers are about as "
    "likely, and the likeliest changes.",
    "Curves from frozen parts: the parts come from the trained base of the same "
    "number, the rest from fresh draws. The paper sees no change from frozen "
    "feed-forward layers.",
  ]
