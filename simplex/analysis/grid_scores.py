"""Whether grids were answered right: the exact criterion, and lenient ones."""

from collections.abc import Sequence

import numpy as np

# Etimush et al. (2025), ARC-NCA: solved where log(MSE) falls to this.
LENIENT = -7.0


def is_exact(answers: Sequence[np.ndarray], outputs: Sequence[np.ndarray]):
  """Whether every cell of every test grid is right, sizes included."""
  pairs = zip(answers, outputs, strict=True)
  return all(np.array_equal(answer, output) for answer, output in pairs)


def is_solved(attempts: Sequence[Sequence[np.ndarray]], outputs) -> bool:
  """Whether some attempt at each test grid is right (Chollet 2019).

  Args:
    attempts: of each attempt, the answers to all test grids.
    outputs: what is right.
  """
  return all(
    any(np.array_equal(attempt[i], output) for attempt in attempts)
    for i, output in enumerate(outputs)
  )


def right_cells(answers, outputs) -> float:
  """Share of all test cells that are right; grids of other sizes have none."""
  pairs = list(zip(answers, outputs, strict=True))
  right = sum(np.sum(a == b) for a, b in pairs if a.shape == b.shape)
  return float(right / sum(b.size for b in outputs))


def log_error(probabilities_YXK: np.ndarray, output_YX: np.ndarray) -> float:
  """Log of the mean squared error of an answer over cells and colours.

  ARC-NCA measures it on four channels that encode the colour, on the first test
  grid; ours is over the probabilities of K colours, beside a one-hot output.
  It is infinite where the sizes differ.
  """
  if probabilities_YXK.shape[:2] != output_YX.shape:
    return np.inf
  hot_YXK = np.eye(probabilities_YXK.shape[-1])[output_YX]
  error = np.mean((probabilities_YXK - hot_YXK) ** 2)
  return float(np.log(np.maximum(error, np.finfo(np.float64).tiny)))


def is_lenient(errors: Sequence[float]) -> bool:
  """ARC-NCA's criterion: the least log error of a whole training history."""
  return min(errors) <= LENIENT


def distinct(candidates: Sequence[Sequence[np.ndarray]], count: int = 2):
  """The first `count` answers that differ from those before, or fewer."""
  chosen = []
  for answer in candidates:
    if len(chosen) < count and not any(is_exact(answer, x) for x in chosen):
      chosen.append(answer)
  return chosen
