"""What is read off the curves of many seeds around a drop of the loss."""

from typing import NamedTuple

import numpy as np

from simplex.analysis import plateau

SOLVED = 0.5  # accuracy at which the loss is said to have dropped
COPIED = 0.9  # accuracy of the copied answers from which they count as known
CHANCE = 0.12  # accuracy below which the sums count as unknown


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


class Plateau(NamedTuple):
  """Of each seed; NaN where it does not come to that."""

  drop: np.ndarray  # step at which half of the answers are right
  mean_loss: np.ndarray  # of the answers, while only the copies are known
  length: np.ndarray  # steps for which only the copies are known
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


def of(run: Run, window: int) -> Plateau:
  """The plateau of each seed of a moving sum."""
  copies = run.accuracy[:, :, : max(window - 1, 1)].mean(-1)
  sums = run.accuracy[:, :, window - 1 :].mean(-1)
  inside = (copies >= COPIED) & (sums < CHANCE)
  before = run.steps <= np.nan_to_num(drops(run), nan=np.inf)[:, None]
  # Before the first step the answers of a model say nothing.
  before &= run.steps > 0
  count = np.where(inside.any(1), inside.sum(1), np.nan)
  peak = lambda x: np.where(before, x, -np.inf).max(1)
  every = run.steps[1] - run.steps[0]
  return Plateau(
    drop=drops(run),
    mean_loss=np.sum(run.answer_loss * inside, axis=1) / count,
    length=every * inside.sum(1),
    repetition=peak(run.repetition),
    cosine=peak(run.cosine),
    lead=leads(run),
  )


def finite(values) -> np.ndarray:
  values = np.asarray(values, float)
  return values[np.isfinite(values)]
