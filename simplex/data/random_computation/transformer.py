"""Random transformers that rewrite a string in one pass (Bloem 2025, draft).

Causal attention of random sharpness, from averages to copies; positions are
seen through random waves; a last channel decides where the input is kept.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.data.random_computation import machine
from simplex.types import Array, Key


@dataclasses.dataclass(frozen=True)
class Config:
  hidden: int = 32  # E
  layers: int = 2
  heads: int = 2
  sharpness: machine.Law = machine.LogUniform(1.0, 30.0)  # of attention
  positions: machine.Law = machine.LogUniform(0.03, 3.0)  # weight of the waves
  output_bias: machine.Law = machine.LogUniform(0.05, 1.0)


class Params(NamedTuple):
  """One random transformer.

  Attributes:
    embedding: one vector for each token, `[V, E]`.
    frequency: of the wave that a channel sees positions through, `[E]`.
    phase: of the wave, `[E]`.
    positions: weight of the waves.
    sharpness: factor of the attention logits.
    layers: `[L, 12, E, E]`; a layer's matrices are query, key, value, output,
      and four each into and out of the hidden units.
    output: weights and bias of V + 1 channels; the last keeps the input.
  """

  embedding: Array
  frequency: Array
  phase: Array
  positions: Array
  sharpness: Array
  layers: Array
  output: tuple[Array, Array]


def make(config: Config) -> machine.Machine:
  """The transformers of `config` as a law of machines.

  Raises:
    ValueError: `hidden` does not divide among the heads.
  """
  if config.hidden % config.heads:
    raise ValueError(
      f"hidden={config.hidden} must be a multiple of heads={config.heads}"
    )

  def run(params, seeds_NS, conditions_NT):
    return _run(params, seeds_NS, conditions_NT, config.heads)

  return machine.Machine(lambda key: _init(key, config), run)


def _init(key: Key, config: Config) -> Params:
  E, L, V = config.hidden, config.layers, machine.VOCABULARY
  keys = jax.random.split(key, 7)
  weights_nE = jax.random.normal(keys[0], (2 * V + 1 + L * 12 * E, E))
  bias_V = jax.random.normal(keys[1], (V + 1,))
  return Params(
    weights_nE[:V],
    machine.LogUniform(0.01, 3.0).draw(keys[2], (E,)),
    jax.random.uniform(keys[3], (E,), maxval=2 * jnp.pi),
    config.positions.draw(keys[4]),
    config.sharpness.draw(keys[5]),
    weights_nE[2 * V + 1 :].reshape(L, 12, E, E) / E**0.5,
    (
      weights_nE[V : 2 * V + 1].T / E**0.5,
      bias_V * config.output_bias.draw(keys[6]),
    ),
  )


def _run(params, seeds_NS, conditions_NT, heads: int) -> Array:
  S, T = seeds_NS.shape[1], conditions_NT.shape[1]
  read_NT = jnp.concatenate([seeds_NS, conditions_NT[:, S:]], axis=1)
  t_T1 = jnp.arange(T)[:, None]
  waves_TE = jnp.sin(t_T1 * params.frequency + params.phase)
  x_NTE = params.embedding[read_NT] + params.positions * waves_TE

  def layer(x_NTE, weights_cEE):
    attention, inner, outer = jnp.split(weights_cEE, 3)
    x_NTE += _attend(attention, _norm(x_NTE), params.sharpness, heads)
    hidden = jax.nn.relu(jnp.einsum("NTE,cEF->NTcF", _norm(x_NTE), inner))
    return x_NTE + jnp.einsum("NTcF,cFE->NTE", hidden, outer), None

  x_NTE, _ = jax.lax.scan(layer, x_NTE, params.layers)
  w_EV, b_V = params.output
  logits_NTV = _norm(x_NTE) @ w_EV + b_V
  written_NT = jnp.argmax(logits_NTV[..., :-1], axis=-1).astype(jnp.int32)
  keep_NT = (logits_NTV[..., -1] > 0) | (jnp.arange(T) < S)
  return jnp.where(keep_NT, read_NT, written_NT)


def _attend(weights_cEE, x_NTE, sharpness, heads: int) -> Array:
  """Causal attention; `weights_cEE` are query, key, value and output."""
  N, T, E = x_NTE.shape
  q_NTHD, k_NTHD, v_NTHD = (
    (x_NTE @ w_EE).reshape(N, T, heads, -1) for w_EE in weights_cEE[:3]
  )
  scale = sharpness / q_NTHD.shape[-1] ** 0.5
  logits_NHTS = scale * jnp.einsum("NTHD,NSHD->NHTS", q_NTHD, k_NTHD)
  causal_TS = jnp.tril(jnp.ones((T, T), bool))
  weights_NHTS = jax.nn.softmax(jnp.where(causal_TS, logits_NHTS, -jnp.inf))
  o_NTHD = jnp.einsum("NHTS,NSHD->NTHD", weights_NHTS, v_NTHD)
  return o_NTHD.reshape(N, T, E) @ weights_cEE[3]


def _norm(x_NTE: Array) -> Array:
  return x_NTE * jax.lax.rsqrt(jnp.mean(x_NTE**2, axis=-1, keepdims=True))
