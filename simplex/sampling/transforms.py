"""What is done to logits before a token is drawn from them.

A transform is a function `(logits_BV, state) -> (logits_BV, state)`, logits
float32 and -inf for what cannot be drawn. The sampler calls it once for each
token, in the order given, and carries its state.

Temperature, then what is cut, is the usual order: a cut of probabilities (`p`)
is one of those that the transforms before have left.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simplex.types import Array


class State(NamedTuple):
  """What a transform sees beside the logits.

  Attributes:
    tokens_BT: what has come since its last call: the prompts, with their
      padding, at the first, and then one token for each text, `[B, 1]`.
    memory: its own, any tree of arrays that keep their shapes.
  """

  tokens_BT: Array
  memory: Any = ()


class Transform(NamedTuple):
  """A transform and the memory that it starts with.

  Attributes:
    apply: `(logits_BV, state) -> (logits_BV, state)`, of a `State`.
    memory: of the first state; empty for a transform that remembers nothing.
  """

  apply: Callable[[Array, State], tuple[Array, State]]
  memory: Any = ()


def stateless(fn: Callable[[Array], Array]) -> Transform:
  """The transform that only looks at the logits: `logits_BV -> logits_BV`."""
  return Transform(lambda logits_BV, state: (fn(logits_BV), state))


def temperature(tau: float | Array) -> Transform:
  """Logits over tau; at 0 the largest alone is left, the first of equals.

  Raises:
    ValueError: a number that is not at least 0.
  """
  if not isinstance(tau, jax.Array) and not tau >= 0:
    raise ValueError(f"temperature={tau} is not at least 0")

  def fn(logits_BV):
    warm_BV = logits_BV / jnp.where(tau > 0, tau, 1)
    best_B1 = jnp.argmax(logits_BV, axis=-1, keepdims=True)
    is_best_BV = jnp.arange(logits_BV.shape[-1]) == best_B1
    return jnp.where((tau > 0) | is_best_BV, warm_BV, -jnp.inf)

  return stateless(fn)


def top_k(k: int) -> Transform:
  """Leaves the k largest logits, and what is equal to the last of them.

  Raises:
    ValueError: k is not at least 1.
  """
  if k < 1:
    raise ValueError(f"top_k={k} is not at least 1")

  def fn(logits_BV):
    largest_BK, _ = jax.lax.top_k(logits_BV, min(k, logits_BV.shape[-1]))
    return _where(logits_BV >= largest_BK[:, -1:], logits_BV)

  return stateless(fn)


def top_p(p: float) -> Transform:
  """Leaves the fewest tokens whose probabilities are p or more together.

  Nucleus sampling (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751);
  of equal logits at the edge, all.

  Raises:
    ValueError: p is not in (0, 1].
  """
  _check_probability("top_p", p)

  def fn(logits_BV):
    sorted_BV = jnp.sort(logits_BV, axis=-1, descending=True)
    probs_BV = jax.nn.softmax(sorted_BV)
    before_BV = jnp.cumsum(probs_BV, axis=-1) - probs_BV
    last_B1 = jnp.sum(before_BV < p, axis=-1, keepdims=True) - 1
    least_B1 = jnp.take_along_axis(sorted_BV, last_B1, axis=-1)
    return _where(logits_BV >= least_B1, logits_BV)

  return stateless(fn)


def min_p(p: float) -> Transform:
  """Leaves the tokens at least p times as probable as the most probable one.

  Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.

  Raises:
    ValueError: p is not in (0, 1].
  """
  _check_probability("min_p", p)

  def fn(logits_BV):
    least_B1 = logits_BV.max(axis=-1, keepdims=True) + jnp.log(p)
    return _where(logits_BV >= least_B1, logits_BV)

  return stateless(fn)


def _where(keep_BV, logits_BV):
  return jnp.where(keep_BV, logits_BV, -jnp.inf)


def _check_probability(name, p):
  if not 0 < p <= 1:
    raise ValueError(f"{name}={p} is not in (0, 1]")
