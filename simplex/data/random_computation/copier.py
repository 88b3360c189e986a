"""Random copying machines: a Lempel-Ziv program run on the condition.

Position t holds either the condition's token or a copy of position t - d. A
program is the list of these choices, so that one distance and no literals
repeat a string with period d, and many of both make a patchwork of earlier
pieces. The other machines rarely repeat anything long.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.data.random_computation import machine
from simplex.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Config:
  literals: machine.Law = machine.LogUniform(1e-3, 0.3)  # share of positions
  switches: machine.Law = machine.LogUniform(1e-3, 0.3)  # of the distance


class Params(NamedTuple):
  """Rates of one program, and the seed of its choices."""

  literals: Array
  switches: Array
  key: Array  # raw key data


def make(config: Config) -> machine.Machine:
  """Programs with the rates of `config` and log-uniform distances."""

  def init(key: Key) -> Params:
    literal_key, switch_key, key = jax.random.split(key, 3)
    return Params(
      config.literals.draw(literal_key),
      config.switches.draw(switch_key),
      jax.random.key_data(key),
    )

  return machine.Machine(init, _run)


def _run(params: Params, seeds_NS: Array, conditions_NT: Array) -> Array:
  S, T = seeds_NS.shape[1], conditions_NT.shape[1]
  read_NT = jnp.concatenate([seeds_NS, conditions_NT[:, S:]], axis=1)
  return read_NT[:, _origins(params, S, T)]


def _origins(params: Params, S: int, T: int) -> Array:
  """The position whose token each position ends up with, `[T]`."""
  keys = jax.random.split(jax.random.wrap_key_data(params.key), 3)
  literal_T = jax.random.bernoulli(keys[0], params.literals, (T,))
  segment_T = jnp.cumsum(jax.random.bernoulli(keys[1], params.switches, (T,)))
  drawn_T = machine.LogUniform(1, T).draw(keys[2], (T + 1,))
  distance_T = jnp.floor(drawn_T).astype(jnp.int32)[segment_T]
  t_T = jnp.arange(T)
  stays_T = literal_T | (t_T < S) | (t_T < distance_T)
  origin_T = jnp.where(stays_T, t_T, t_T - distance_T)
  for _ in range(T.bit_length()):  # chains are at most T long: pointer jumping
    origin_T = origin_T[origin_T]
  return origin_T
