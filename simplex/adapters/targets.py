"""Which parameters are adapted, and how much: patterns of their paths."""

import dataclasses
import re

from simplex.adapters import paths
from simplex.types import Array, Params


@dataclasses.dataclass(frozen=True)
class Config:
  """What is adapted, at which rank and scale.

  A pattern is a regular expression that matches a whole path, as
  r".*/(query|value)/kernel" matches "params/layer_0/mixer/query/kernel". Where
  several entries of `ranks` or of `alphas` match, the first counts.

  Attributes:
    patterns: of the matrices to adapt.
    rank: r, where no entry of `ranks` matches.
    alpha: a change is scaled by alpha / r; where no entry of `alphas` matches.
    ranks: pairs of a pattern and the rank there.
    alphas: pairs of a pattern and the alpha there.
  """

  patterns: tuple[str, ...] = (r".*kernel",)
  rank: int = 8
  alpha: float = 8.0
  ranks: tuple[tuple[str, int], ...] = ()
  alphas: tuple[tuple[str, float], ...] = ()

  def __post_init__(self):
    if isinstance(self.patterns, str) or not self.patterns:
      raise ValueError(
        f"patterns={self.patterns!r} is not a tuple of one pattern or more"
      )
    for value in (self.rank, *(value for _, value in self.ranks)):
      if value < 1:
        raise ValueError(f"rank={value} is not at least 1")
    for pattern in _patterns(self):
      try:
        re.compile(pattern)
      except re.error as error:
        raise ValueError(
          f"pattern={pattern!r} is not a regular expression: {error}"
        ) from error


def select(config: Config, base: Params) -> dict[str, Array]:
  """The matrices that are adapted, by their paths.

  Leaves of more than two axes are stacks of matrices `[d_in, d_out]`, such as
  the layers of a scanned model. In such a model biases and gains have two axes
  as well: what is a kernel is for the patterns to say.

  Raises:
    ValueError: a pattern matches no matrix, or one of `ranks` and `alphas` none
      that is adapted; lists the nearest paths.
  """
  leaves = paths.flatten(base)
  matrices = {path: w for path, w in leaves.items() if w.ndim >= 2}
  for pattern in config.patterns:
    _check_matches(pattern, matrices, "no matrix")
  chosen = {
    path: w
    for path, w in matrices.items()
    if any(re.fullmatch(pattern, path) for pattern in config.patterns)
  }
  for pattern, _ in (*config.ranks, *config.alphas):
    _check_matches(pattern, chosen, "no matrix that is adapted")
  return chosen


def rank(config: Config, path: str) -> int:
  """The rank r of the change at a path."""
  return _first(config.ranks, path, config.rank)


def gain(config: Config, path: str) -> float:
  """The scale alpha / r of the change at a path."""
  return _first(config.alphas, path, config.alpha) / rank(config, path)


def _first(entries, path, otherwise):
  matches = (value for key, value in entries if re.fullmatch(key, path))
  return next(matches, otherwise)


def _patterns(config):
  return (*config.patterns, *dict(config.ranks), *dict(config.alphas))


def _check_matches(pattern, matrices, what):
  if not any(re.fullmatch(pattern, path) for path in matrices):
    raise ValueError(
      f"pattern={pattern!r} matches {what}: {paths.nearest(pattern, matrices)}"
    )
