"""The one interface between papers and training loops."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from simplex.types import Array, Key, Metrics, Params, Source


class Problem(NamedTuple):
  """What to optimise, as pure functions.

  Attributes:
    init: `key -> params`.
    loss: `(params, batch, *, key, step) -> (loss, metrics)`.
    source: where batches come from.
    evals: `name -> (params, key) -> metrics`, run every `eval_every` steps.
  """

  init: Callable[[Key], Params]
  loss: Callable[..., tuple[Array, Metrics]]
  source: Source
  evals: Mapping[str, Callable[[Params, Key], Metrics]] = {}


class TrainState(NamedTuple):
  """Everything a run needs to continue; nothing else is saved."""

  step: Array  # updates done so far
  key: Array  # raw key data, the same for the whole run
  params: Params
  opt_state: optax.OptState
  source: Any
  skipped: Array  # steps undone because they broke: in all, and in a row now
