"""Claims that are judged by an interval over seeds."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from trainers.intervals import Interval, interval
from trainers.reports import Claim


def measured(
  text: str, values: ArrayLike, holds: Callable[[Interval], bool], **fields
) -> Claim:
  """A claim about a mean over seeds.

  Args:
    text: the sentence.
    values: one number for each seed. Where there is none, or one that is not
      finite, the claim was not measured.
    holds: whether the claim holds, given the mean and its 95 % interval. A
      single seed has no interval: its value is given for both ends.
    **fields: other fields of `Claim`.
  """
  values_N = np.asarray(values, float)
  if not values_N.size or not np.isfinite(values_N).all():
    return Claim(text, **fields)
  ours = interval(values_N)
  if np.isnan(ours.low):
    judged, ends = Interval(ours.mean, ours.mean, ours.mean), None
  else:
    judged, ends = ours, (ours.low, ours.high)
  return Claim(
    text, ours=ours.mean, interval=ends, holds=bool(holds(judged)), **fields
  )
