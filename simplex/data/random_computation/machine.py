"""What a random machine is, and the laws its settings are drawn from."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simplex.types import Array, Key

VOCABULARY = 256  # tokens are bytes


class Machine(NamedTuple):
  """One random computation, from two strings to one, on N rows at once.

  Attributes:
    init: `key -> params`, a machine drawn from its law.
    run: `(params, seeds_NS, conditions_NT) -> tokens_NT`, all int32 in
      [0, VOCABULARY), S < T. The output begins with the seeds and is a function
      of the arguments alone.
  """

  init: Callable[[Key], Any]
  run: Callable[[Any, Array, Array], Array]


class Uniform(NamedTuple):
  """The law of `u ** power`, u uniform on [low, high]."""

  low: float
  high: float
  power: float = 1.0

  def draw(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
    u = jax.random.uniform(key, shape, minval=self.low, maxval=self.high)
    return u**self.power


class LogUniform(NamedTuple):
  """The law of a number in [low, high] whose logarithm is uniform."""

  low: float
  high: float

  def draw(self, key: Key, shape: tuple[int, ...] = ()) -> Array:
    low, high = jnp.log(self.low), jnp.log(self.high)
    return jnp.exp(jax.random.uniform(key, shape, minval=low, maxval=high))


Law = Uniform | LogUniform


def fixed(value: float) -> Uniform:
  """The law of a number that is always `value`."""
  return Uniform(value, value)
