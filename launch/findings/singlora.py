"""What is said of SingLoRA: claims, in words."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from launch.studies import adapter_toys as toys, tuned_models


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    first: the text of pre-training.
    corpus: the text of tuning.
    steps: of tuning.
    rates: of learning.
    untuned: bits a byte of the test windows before tuning.
    tuned: arm to runs.
    attention_steps: of the evaluations of Figure 1's toy.
    attention: arm to losses, `[seeds, evals]`.
    width: settings of the toy of widths.
    widths: what `adapter_toys.width` found.
    invariance: optimiser to distances, `[d_ins, seeds]`.
    ranks: of one factor, for the shares.
    gaussian: shares of Gaussian changes, `[ranks, seeds]`.
    real: shares of full fine-tuning's changes, or None.
    norms: of the initial change over the kernel's, by fan-in, `[seeds]`.
    counts: model to parameters of LoRA and of SingLoRA.
  """

  first: str
  corpus: str
  steps: int
  rates: tuple[float, ...]
  untuned: float
  tuned: Mapping[str, tuned_models.Runs]
  attention_steps: np.ndarray
  attention: Mapping[str, np.ndarray]
  width: toys.Width
  widths: Mapping[str, np.ndarray]
  invariance: Mapping[str, np.ndarray]
  ranks: tuple[int, ...]
  gaussian: Mapping[str, np.ndarray]
  real: Mapping[str, np.ndarray] | None
  norms: Mapping[str, np.ndarray]
  counts: Mapping[str, tuple[int, int]]


def report(found):
  return found
