"""Names shared by every layer, and the one alphabet of axes.

Axis letters, used in variable suffixes, einsum strings, docstrings and asserts:

  B batch          T query position   S key position     R second key position
  H heads          G key heads        D head width       E model width
  F feed-forward   V vocabulary       L layers           N samples or rows
  K classes        Y, X grid rows and columns
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import chex
import jax

Array = jax.Array
Key = jax.Array
Params = chex.ArrayTree
Batch = Mapping[str, Array]
Metrics = Mapping[str, Array]


class Source(NamedTuple):
  """Batches as a pure function of a small state, saved with the model.

  Attributes:
    init: `key -> state`.
    next: `state -> (batch, state)`, traceable by JAX.
  """

  init: Callable[[Key], Any]
  next: Callable[[Any], tuple[Batch, Any]]
