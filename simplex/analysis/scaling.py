"""Scaling exponents from a table of losses, and how little few points say.

Roy et al. 2025 (https://arxiv.org/abs/2507.02754, section 7) compare models by
the exponent in L(N) = A / N^alpha: the law L(N, D) = E + A / N^a + B / D^b with
equal data, so without its last term, and with the irreducible loss E left out.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

ACTIVE_PARAMETERS = (1e9, 2e9, 3.5e9)
# Negative log-likelihoods of the paper's Table 2, one run each.
TABLE_2: Mapping[str, Mapping[str, tuple[float, ...]]] = {
  "GSM8k": {
    "transformer": (0.3277, 0.2987, 0.2781),
    "simplicial": (0.3302, 0.2942, 0.2718),
  },
  "MMLU": {
    "transformer": (0.6411, 0.5932, 0.5543),
    "simplicial": (0.6423, 0.5862, 0.5484),
  },
  "MMLU-pro": {
    "transformer": (0.8718, 0.8193, 0.7858),
    "simplicial": (0.8718, 0.8135, 0.7689),
  },
  "MBPP": {
    "transformer": (0.2690, 0.2435, 0.2203),
    "simplicial": (0.2714, 0.2411, 0.2193),
  },
}
# Exponents of the paper's Table 3.
TABLE_3: Mapping[str, Mapping[str, float]] = {
  "GSM8k": {"transformer": 0.1420, "simplicial": 0.1683},
  "MMLU": {"transformer": 0.1256, "simplicial": 0.1364},
  "MMLU-pro": {"transformer": 0.0901, "simplicial": 0.1083},
  "MBPP": {"transformer": 0.1720, "simplicial": 0.1837},
}


class Fit(NamedTuple):
  """A fitted exponent.

  Attributes:
    alpha: the exponent.
    beta: the offset, -log A.
    r2: share of the variance of -log L that the line explains, at most 1.
    low: lower end of the 95 % interval of alpha; NaN for two points.
    high: its upper end.
  """

  alpha: float
  beta: float
  r2: float
  low: float
  high: float


def fit(parameters: Sequence[float], losses: Sequence[float]) -> Fit:
  """Least squares of -log L = alpha log N + beta, natural logarithms.

  The interval is alpha +- t s / sqrt(sum (log N - mean)^2), where s^2 is the
  residual variance and t the quantile of Student's law with N - 2 degrees of
  freedom: 12.7 for three points, 4.3 for four.

  Args:
    parameters: N, at least two, not all equal.
    losses: L, positive, one for each.

  Raises:
    ValueError: there are too few points, or their numbers differ.
  """
  x_N, y_N = np.log(parameters), -np.log(losses)
  if len(x_N) != len(y_N) or len(x_N) < 2 or np.ptp(x_N) == 0:
    raise ValueError(
      f"{parameters=} and {losses=} are not two or more points at different N"
    )
  alpha, beta = np.polyfit(x_N, y_N, 1)
  residual = np.sum((y_N - alpha * x_N - beta) ** 2)
  spread = np.sum((x_N - x_N.mean()) ** 2)
  freedom = len(x_N) - 2
  half = np.nan
  if freedom:
    half = special.stdtrit(freedom, 0.975)
    half *= np.sqrt(residual / freedom / spread)
  r2 = 1 - residual / np.sum((y_N - y_N.mean()) ** 2)
  ends = (alpha, beta, r2, alpha - half, alpha + half)
  return Fit(*map(float, ends))


def relative_gain(before: float, after: float) -> float:
  """Per cent by which an exponent grew: 100 (after / before - 1)."""
  return 100 * (after / before - 1)


def implied_range(ours: float, published: float, largest: float) -> float:
  """Largest over smallest N under which our exponent would be the published.

  An exponent is a rise over a run of log N, so the same losses give `published`
  when all distances of log N shrink by `ours / published`:

    range = largest ** (ours / published)

  Args:
    ours: the exponent when the largest N is `largest` times the smallest.
    published: the exponent to be met.
    largest: at least 1.
  """
  return largest ** (ours / published)
