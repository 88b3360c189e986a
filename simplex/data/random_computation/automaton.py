"""Random finite automata that turn one string into another.

    q_{t+1} = next[q_t, class_of[z_t]]      x_t = emit[q_t, class_of[z_t]]

with z the condition. A constant condition makes the output periodic, noise
makes it a string of a random regular language, and an ordered condition is
rewritten into another.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.data.random_computation import machine
from simplex.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Config:
  max_states: int = 32
  max_classes: int = 8  # of tokens that the automaton cannot tell apart
  max_symbols: int = 64  # tokens that it writes


class Params(NamedTuple):
  """One automaton of Q states that sees K classes of tokens.

  Attributes:
    class_of: the class of each token, `[V]`.
    next: the state that follows, `[Q, K]`.
    emit: the token that is written, `[Q, K]`.
  """

  class_of: Array
  next: Array
  emit: Array


def make(config: Config) -> machine.Machine:
  """Automata whose numbers of states, classes and symbols are log-uniform."""
  return machine.Machine(lambda key: _init(key, config), _run)


def _init(key: Key, config: Config) -> Params:
  size_key, name_key, table_key = jax.random.split(key, 3)
  maxima = (config.max_states, config.max_classes, config.max_symbols)
  u_3 = jax.random.uniform(size_key, (3,))
  states, classes, symbols = jnp.floor((jnp.array(maxima) + 1.0) ** u_3)
  names_V = jnp.argsort(jax.random.bits(name_key, (machine.VOCABULARY,)))
  Q, K = config.max_states, config.max_classes
  u_n = jax.random.uniform(table_key, (machine.VOCABULARY + 2 * Q * K,))
  class_V, next_n, emit_n = jnp.split(
    u_n, [machine.VOCABULARY, machine.VOCABULARY + Q * K]
  )
  emit_n = jnp.floor(emit_n * symbols).astype(jnp.int32)
  return Params(
    jnp.floor(class_V * classes).astype(jnp.int32),
    jnp.floor(next_n * states).astype(jnp.int32).reshape(Q, K),
    names_V[emit_n].astype(jnp.int32).reshape(Q, K),
  )


def _run(params: Params, seeds_NS: Array, conditions_NT: Array) -> Array:
  S = seeds_NS.shape[1]

  def step(state_N, token_N):
    class_N = params.class_of[token_N]
    return params.next[state_N, class_N], params.emit[state_N, class_N]

  state_N = jnp.zeros_like(seeds_NS[:, 0])
  read_NT = jnp.concatenate([seeds_NS, conditions_NT[:, S:]], axis=1)
  _, tokens_TN = jax.lax.scan(step, state_N, read_NT.T)
  return jnp.concatenate([seeds_NS, tokens_TN[S:].T], axis=1)
