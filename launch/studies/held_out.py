"""Labelled images, some classes of which are kept from training."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from simplex.types import Array
from trainers.images import Images


class Data(NamedTuple):
  """Inputs, and labels in [0, K), which are of numpy: K is a shape."""

  train: Array
  train_labels: np.ndarray
  test: Array
  test_labels: np.ndarray


def split(images: Images, classes: Sequence[int]) -> tuple[Data, Data]:
  """The images of the other classes and those of `classes`, numbered anew.

  Raises:
    ValueError: a class is unknown, none is named, or fewer than two are left.
  """
  known = np.unique(images.train_labels_N)
  if unknown := set(classes) - set(known.tolist()):
    raise ValueError(
      f"held_out={sorted(unknown)} are not among the classes {known.tolist()}"
    )
  kept = np.setdiff1d(known, classes)
  if not classes or len(kept) < 2:
    raise ValueError(
      f"held_out={tuple(classes)} leaves {len(kept)} of {len(known)} classes; "
      "at least 2 are to be learnt and 1 is to be held out"
    )
  return _part(images, kept), _part(images, np.unique(classes))


def _part(images: Images, classes: np.ndarray) -> Data:
  def pick(x_NHWC, labels_N):
    keep_N = np.isin(labels_N, classes)
    return jnp.asarray(x_NHWC[keep_N]), np.searchsorted(
      classes, labels_N[keep_N]
    )

  return Data(
    *pick(images.train_NHWC, images.train_labels_N),
    *pick(images.test_NHWC, images.test_labels_N),
  )
