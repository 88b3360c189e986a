"""Confidence intervals over seeds."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


class Interval(NamedTuple):
  """A mean and the two ends of its 95 % interval, floats or arrays."""

  mean: np.ndarray | float
  low: np.ndarray | float
  high: np.ndarray | float


def interval(values: ArrayLike, level: float = 0.95) -> Interval:
  """Mean and Student-t interval over the first axis, one row per seed.

  mean +- t(level, N - 1) * s / sqrt(N), with s the unbiased deviation. One
  seed has a mean and no interval: its ends are NaN.

  Args:
    values: [N, ...], one row per seed.
    level: the share of such intervals that hold the true mean, in (0, 1).

  Returns:
    Arrays of the shape of one row; floats when a row is a scalar.

  Raises:
    ValueError: there are no values.
  """
  values_N = np.asarray(values, np.float64)
  if values_N.ndim == 0 or not len(values_N):
    raise ValueError(f"values={values!r} has no seeds; at least one is needed")
  N = len(values_N)
  mean = values_N.mean(0)
  half = np.full_like(mean, np.nan)
  if N > 1:
    quantile = special.stdtrit(N - 1, (1 + level) / 2)
    half = quantile * values_N.std(0, ddof=1) / np.sqrt(N)
  ends = (mean, mean - half, mean + half)
  return Interval(*(float(a) if values_N.ndim == 1 else a for a in ends))
