"""Random recurrent machines: LSTMs between order and chaos (Bloem 2025).

Each step reads the last token and the condition's token, and the next token
is the argmax of the output layer. `gain` multiplies every weight and bias of
the recurrent layers: near 1 the rows are constant, from about 7 they are
chaotic, and between lies the structure worth learning from.
"""

import dataclasses
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.data.random_computation import machine
from simplex.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Config:
  hidden: int = 32  # E, also the width of the token embedding
  layers: int = 4
  gain: machine.Law = machine.fixed(1.0)
  embedding_scale: machine.Law = machine.fixed(1.0)
  output_bias: machine.Law = machine.fixed(0.0)  # deviation added to the bias


class Params(NamedTuple):
  """One LSTM, F = 4E gates in the order i, f, o, g, ready to be stepped.

  Attributes:
    token: what the last token adds to the first layer's gates, `[V, F]`.
    condition: what the condition's token adds, and the bias, `[V, F]`.
    first: the first layer's recurrent weights, `[E, F]`.
    rest: weights `[2E, F]`, on the layer below and on the past, and bias
      `[F]`, of every other layer.
    output: weights `[E, V]` and bias `[V]`.
  """

  token: Array
  condition: Array
  first: Array
  rest: tuple[tuple[Array, Array], ...]
  output: tuple[Array, Array]


def make(config: Config) -> machine.Machine:
  """The LSTMs of `config` as a law of machines."""
  return machine.Machine(lambda key: _init(key, config), _run)


def _init(key: Key, config: Config) -> Params:
  E, L, V = config.hidden, config.layers, machine.VOCABULARY
  keys = jax.random.split(key, 6)
  gain = config.gain.draw(keys[0])
  # Rows of the first layer read the token, the condition and its past; of the
  # others, the layer below and their past. Two rows are biases.
  heights = [3 * E + 2] + [2 * E + 2] * (L - 1)
  drawn_nF = _default(keys[1], (sum(heights), 4 * E), E) * gain
  # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2: one tanh then serves all four gates.
  drawn_nF *= jnp.where(jnp.arange(4 * E) < 3 * E, 0.5, 1.0)
  layers = [
    (w_nF[:-2], w_nF[-2] + w_nF[-1])
    for w_nF in jnp.split(drawn_nF, list(itertools.accumulate(heights))[:-1])
  ]
  (first_nF, bias_F), *rest = layers
  scale = config.embedding_scale.draw(keys[2])
  embedding_VE = scale * jax.random.normal(keys[3], (V, E))
  output_nV = _default(keys[4], (E + 1, V), E)
  deviation_key, noise_key = jax.random.split(keys[5])
  deviation = config.output_bias.draw(deviation_key)
  noise_V = jax.random.normal(noise_key, (V,))
  return Params(
    embedding_VE @ first_nF[:E],
    embedding_VE @ first_nF[E : 2 * E] + bias_F,
    first_nF[2 * E :],
    tuple(rest),
    (output_nV[:E], output_nV[E] + deviation * noise_V),
  )


def _default(key: Key, shape: tuple[int, ...], fan_in: int) -> Array:
  bound = fan_in**-0.5
  return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def _run(params: Params, seeds_NS: Array, conditions_NT: Array) -> Array:
  N, S = seeds_NS.shape
  T, E = conditions_NT.shape[1], params.first.shape[0]
  forced_NT = jnp.pad(seeds_NS, ((0, 0), (0, T - S)))

  def step(carry, now):
    token_N, layers = carry
    condition_N, forced_N, is_forced = now
    token_N, layers = _step(params, token_N, condition_N, layers)
    token_N = jnp.where(is_forced, forced_N, token_N)
    return (token_N, layers), token_N

  zeros_NE = jnp.zeros((N, E))
  layers = ((zeros_NE, zeros_NE),) * (1 + len(params.rest))
  now = (conditions_NT.T[:-1], forced_NT.T[1:], jnp.arange(1, T) < S)
  _, tokens_TN = jax.lax.scan(step, (seeds_NS[:, 0], layers), now)
  return jnp.concatenate([seeds_NS[:, :1], tokens_TN.T], axis=1)


def _step(params, token_N, condition_N, layers):
  gates_NF = params.token[token_N] + params.condition[condition_N]
  (h_NE, c_NE), *above = layers
  h_NE, c_NE = _cell(gates_NF + h_NE @ params.first, c_NE)
  new = [(h_NE, c_NE)]
  for (w_nF, b_F), (past_NE, c_NE) in zip(params.rest, above, strict=True):
    both_Nn = jnp.concatenate([h_NE, past_NE], axis=1)
    h_NE, c_NE = _cell(both_Nn @ w_nF + b_F, c_NE)
    new.append((h_NE, c_NE))
  w_EV, b_V = params.output
  return _argmax(h_NE @ w_EV + b_V), tuple(new)


def _cell(gates_NF: Array, c_NE: Array) -> tuple[Array, Array]:
  i_NE, f_NE, o_NE, g_NE = jnp.split(jnp.tanh(gates_NF), 4, axis=1)
  c_NE = 0.5 * ((f_NE + 1) * c_NE + (i_NE + 1) * g_NE)
  return 0.5 * (o_NE + 1) * jnp.tanh(c_NE), c_NE


def _argmax(x_NV: Array) -> Array:
  """As `jnp.argmax`, in two plain reductions: on CPUs a tenth of the time."""
  V = x_NV.shape[1]
  is_max_NV = x_NV == jnp.max(x_NV, axis=1, keepdims=True)
  return jnp.min(
    jnp.where(is_max_NV, jnp.arange(V, dtype=jnp.int32), V), axis=1
  )
