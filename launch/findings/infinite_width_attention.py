"""What is said of attention at infinite width: claims, figures and tables."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

POINTS = np.linspace(0.0, 4.0, 81)
WEIGHTS = {"normal weights": True, "Flax's own weights": False}


class Law(NamedTuple):
  variance: np.ndarray
  covariance: np.ndarray
  kurtosis: np.ndarray
  score_variance: np.ndarray
  score_kurtosis: np.ndarray


class Distances(NamedTuple):
  law: Law
  wasserstein: np.ndarray
  sampled: np.ndarray
  divergence: np.ndarray
  density: np.ndarray


class Layer(NamedTuple):
  size: str
  width: int
  law: object
  again: object
  arms: object


class Found(NamedTuple):
  num_tokens: int
  num_heads: int
  num_draws: int
  widths: Mapping[int, Distances]
  floor: Distances
  heads: Mapping[int, Law]
  many_heads_width: int
  many_heads: Mapping[int, Law]
  low_rank_width: int
  low_rank: Mapping[int, Law]
  rectified: Mapping[int, Law]
  layer: Layer


def report(found):
  return found
