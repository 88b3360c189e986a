"""Which random machines the data comes from: laws, shares and the way out."""

from collections.abc import Callable
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simplex.data.random_computation import (
  automaton,
  copier,
  lstm,
  machine,
  transformer,
)
from simplex.types import Array, Key


class Part(NamedTuple):
  """A kind of machine, its settings, and its share of the machines drawn."""

  make: Callable[[Any], machine.Machine]
  config: Any
  share: float = 1.0


class Mixture(NamedTuple):
  """Kinds of machines, and what happens to rows on their way to the model.

  Attributes:
    parts: kinds whose shares sum to 1.
    outlet: `(key, tokens_NT) -> tokens_NT`, applied to the rows of a batch and
      never to the rows that machines are fed with.
  """

  parts: tuple[Part, ...]
  outlet: Callable[[Key, Array], Array]


def unchanged(key: Key, tokens_NT: Array) -> Array:
  """The same rows."""
  del key
  return tokens_NT


def renamed(key: Key, tokens_NT: Array) -> Array:
  """Every row under a fresh random permutation of the tokens.

  All machines here treat token names alike, so the law of a row is unchanged;
  a learner, though, never meets the same names twice.
  """
  keys = jax.random.split(key, tokens_NT.shape[0])
  names_NV = jax.vmap(
    lambda k: jnp.argsort(jax.random.bits(k, (machine.VOCABULARY,)))
  )(keys)
  return jnp.take_along_axis(names_NV, tokens_NT, axis=1).astype(jnp.int32)


def noise(key: Key, tokens_NT: Array) -> Array:
  """Uniform noise in place of the rows: data with nothing to learn."""
  return jax.random.randint(key, tokens_NT.shape, 0, machine.VOCABULARY)


OFFICIAL_LSTM = lstm.Config(
  hidden=128,
  layers=4,
  # The published code multiplies by m once per layer, in every layer.
  gain=machine.Uniform(1.0, 3.5, power=4),
  embedding_scale=machine.fixed(1e-8),
)
STRUCTURED_LSTM = lstm.Config(
  hidden=32,
  layers=4,
  gain=machine.LogUniform(1.5, 12.0),
  embedding_scale=machine.LogUniform(1e-3, 3.0),
  output_bias=machine.LogUniform(0.05, 1.0),
)

MIXTURES = {
  "official": Mixture((Part(lstm.make, OFFICIAL_LSTM),), unchanged),
  "structured": Mixture(
    (
      Part(lstm.make, STRUCTURED_LSTM, 0.625),
      Part(automaton.make, automaton.Config(), 0.125),
      Part(copier.make, copier.Config(), 0.125),
      Part(transformer.make, transformer.Config(), 0.125),
    ),
    renamed,
  ),
  "uniform": Mixture((Part(copier.make, copier.Config()),), noise),
  "lstm": Mixture((Part(lstm.make, STRUCTURED_LSTM),), renamed),
  "automaton": Mixture((Part(automaton.make, automaton.Config()),), renamed),
  "copier": Mixture((Part(copier.make, copier.Config()),), renamed),
  "transformer": Mixture(
    (Part(transformer.make, transformer.Config()),), renamed
  ),
}


def resized(mixture: Mixture, **sizes: int) -> Mixture:
  """The mixture with new sizes in every part whose settings name them.

  Args:
    mixture: an entry.
    **sizes: names of settings and their values; 0 leaves one as it is.

  Returns:
    The changed entry.
  """

  def resize(part):
    names = {field.name for field in dataclasses.fields(part.config)}
    new = {name: n for name, n in sizes.items() if n and name in names}
    return part._replace(config=dataclasses.replace(part.config, **new))

  return mixture._replace(parts=tuple(map(resize, mixture.parts)))


def counts(mixture: Mixture, num_machines: int) -> tuple[int, ...]:
  """Machines of each part in a draw, nearest to its share of `num_machines`."""
  edges, total = [0], 0.0
  for part in mixture.parts:
    total += part.share
    edges.append(round(total * num_machines))
  return tuple(b - a for a, b in zip(edges, edges[1:], strict=False))
