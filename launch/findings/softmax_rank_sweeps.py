"""What was seen of networks in a sweep, before any words are put to it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from simplex.models import vision

DETECTORS = (
  "MSP",
  "energy",
  "ViM",
  "NECO",
  "NECO x max logit",
  "KNN, few",
  "KNN, all",
  "Mahalanobis",
)
OTHERS = ("held-out classes", "inverted images", "uniform noise")
NAMES = {
  "norm_layers": "norm in layers",
  "norm_head": "norm before head",
  "mlp": "MLP",
  "conv": "conv net",
  "resnet": "ResNet",
  "vit": "ViT",
}
GAMMA = 1  # index of the threshold 1e-3


class Arm(NamedTuple):
  """What was seen of networks that differ in one knob.

  Attributes:
    knob: which.
    network: sizes.
    settings: (temperature, scale of the kernels) of each setting.
    seen: name to `[settings, seeds, ...]`, after training but for "norm",
      which is |z| / T before it.
  """

  knob: str
  network: vision.Config
  settings: Sequence[tuple[float, float]]
  seen: Mapping[str, np.ndarray]

  @property
  def temperatures(self) -> np.ndarray:
    return np.asarray([t for t, _ in self.settings])


class Softmax(NamedTuple):
  """Ranks of softmax(s Z), for s in `scales`.

  Attributes:
    scales: [S].
    right: share of labels that the rank-2 construction gives.
    rank: of its logits.
    ranks: of their softmax, [S].
    gaussian: rank of Gaussian logits to `[seeds, S]`.
  """

  scales: np.ndarray
  right: float
  rank: float
  ranks: np.ndarray
  gaussian: Mapping[int, np.ndarray]


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    classes: of the clusters.
    thresholds: of the numerical ranks.
    arms: on clusters; the first two are the temperature and the initial scale.
    images: on images; the first is the MLP.
    image_classes: that are learnt.
    equivalence: optimiser to the difference of a run and its rescaled twin.
    softmax: ranks of softmax alone.
  """

  classes: int
  thresholds: Sequence[float]
  arms: Sequence[Arm]
  images: Sequence[Arm]
  image_classes: int
  equivalence: Mapping[str, float]
  softmax: Softmax


def split(arm: Arm, at: int, knob: str) -> tuple[Arm, Arm]:
  """The settings before `at`, and those from there under another name."""
  parts = (slice(None, at), slice(at, None))
  first, second = (
    arm._replace(
      settings=arm.settings[part],
      seen={name: x[part] for name, x in arm.seen.items()},
    )
    for part in parts
  )
  return first, second._replace(knob=knob)


def last_rank(arm: Arm, of: str) -> np.ndarray:
  """Of the logits, or of the last layer: `[settings, seeds]`."""
  ranks = arm.seen[of][..., GAMMA]
  return ranks[:, :, -1] if of == "layers" else ranks


def off_curve(curve: Arm, arm: Arm, of: str) -> np.ndarray:
  """Mean distance from the temperature's curve, in per cent, by seed.

  The curve joins the means of its settings over log |z| / T.
  """
  x = np.log(curve.seen["norm"].mean(1))
  order = np.argsort(x)
  y = last_rank(curve, of).mean(1)
  expected = np.interp(np.log(arm.seen["norm"]), x[order], y[order])
  return 100 * np.abs(last_rank(arm, of) / expected - 1).mean(0)
