"""Asking an experiment what it would train, without training."""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
from typing import Any, NamedTuple

import optax

from trainers.problem import Problem, TrainState

_INSTEAD = contextvars.ContextVar("instead of training", default=None)


class Training(NamedTuple):
  """What `loop.fit` is asked for; `config` is a `loop.Config`."""

  problem: Problem
  optimizer: optax.GradientTransformation
  config: Any


@contextlib.contextmanager
def instead_of_training(fn: Callable[[Training], TrainState]) -> Iterator[None]:
  """Within it `loop.fit` returns what `fn` makes of its task, untrained."""
  token = _INSTEAD.set(fn)
  try:
    yield
  finally:
    _INSTEAD.reset(token)


def instead() -> Callable[[Training], TrainState] | None:
  """What a training loop is to call; None where it is to train."""
  return _INSTEAD.get()
