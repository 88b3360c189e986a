"""What a run of SingLoRA's experiment measured, and what follows from it."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from launch.studies import adapter_toys as toys, tuned_models

NAMES = {
  "lora": "LoRA",
  "lora_plus": "LoRA+",
  "dora": "DoRA",
  "singlora": "SingLoRA",
  "singlora_rank": "SingLoRA, LoRA's rank",
  "singlora_row_adam": "SingLoRA with row_adam",
  "singlora_trap": "SingLoRA started by the rank",
  "full": "all parameters",
}


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    first: where the model comes from.
    corpus: the text of tuning.
    unit: of all that is said to be bits.
    vocab_size: V; a run that failed is said to cost log2 V bits.
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
  unit: str
  vocab_size: int
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


def bounded(found: Found, bits: np.ndarray) -> np.ndarray:
  """Bits of runs, where those that failed cost what a uniform guess does."""
  chance = np.log2(found.vocab_size)
  return np.minimum(np.nan_to_num(bits, nan=chance), chance)


def chosen_bits(found: Found, arm: str) -> np.ndarray:
  """Test bits of each seed, at the rate that validation chose."""
  runs = found.tuned[arm]
  return bounded(found, runs.test[tuned_models.best(runs)])


def spread(found: Found, arm: str) -> np.ndarray:
  """Worst less best test bits over the rates, of each seed."""
  bits = bounded(found, found.tuned[arm].test)
  return bits.max(0) - bits.min(0)


def converging(found: Found, arm: str, exponent: float) -> np.ndarray:
  """Share of the seeds that converged, `[widths, constants]`."""
  i = found.width.exponents.index(exponent)
  return (found.widths[arm][:, i] < found.width.converged).mean(-1)
