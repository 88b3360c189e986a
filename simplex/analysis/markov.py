"""Markov predictors that learn from their own window and nothing else.

The baseline for zero-shot prediction of Bloem (2025), arXiv 2506.20057. With
c counts within the window before position t, V the alphabet size and k the
order,

  p(x_t | x_{t-k} .. x_{t-1}) = (c(context, x_t) + alpha)
                                / (c(context) + alpha V).

c(context) counts the earlier places where the context stood with a token
after it, so that the probabilities sum to 1 and a context not seen before,
or not yet whole, gives 1/V. The author's code also counts the place that is
being predicted, which charges new contexts about log2(1/alpha) bits; its
published numbers are above these.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.types import Array

NUM_ORDERS = 6  # K, orders 0 to 5
# The author's grid ends at 1; noise wants more.
GRID = (100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-6)


class Counts(NamedTuple):
  """What every order saw before each position, both [K, B, T]."""

  context: Array  # times that the context stood with a token after it
  token: Array  # times that this token was the position's own


@functools.partial(jax.jit, static_argnames="num_orders")
def counts(windows_BT: Array, num_orders: int = NUM_ORDERS) -> Counts:
  """Counts by comparing every position with every earlier one.

  A scan over t keeps, for each s before t, how many tokens up to t equal
  those up to s. Time grows with B T^2 and memory with B T.

  Args:
    windows_BT: integer tokens.
    num_orders: K, for the orders 0 to K - 1.

  Returns:
    Whole numbers from 0 to T - 1, as float32.
  """
  chex.assert_rank(windows_BT, 2)
  one = functools.partial(_window_counts, num_orders=num_orders)
  return Counts(*jax.vmap(one, out_axes=1)(windows_BT))


def _window_counts(window_T: Array, num_orders: int) -> tuple[Array, Array]:
  places_S = jnp.arange(window_T.shape[0])
  orders_K1 = jnp.arange(num_orders)[:, None]

  def step(match_S, t):
    longer_S = jnp.pad(match_S[:-1], (1, 0)) + 1
    equal_S = (window_T == window_T[t]) & (places_S < t)
    match_S = jnp.where(equal_S, longer_S, 0)
    return match_S, jnp.sum(match_S > orders_K1, 1, dtype=jnp.float32)

  token_TK = jax.lax.scan(step, jnp.zeros_like(places_S), places_S)[1]
  # A token with its context is the context, one order up, of the next token.
  next_TK = jnp.pad(token_TK[:-1, :-1], ((1, 0), (0, 0)))
  past_T1 = places_S[:, None].astype(jnp.float32)
  return jnp.concatenate([past_T1, next_TK], axis=1).T, token_TK.T


def bits(windows_BT: Array, alphas_K: Array, alphabet_size: int) -> Array:
  """Cost of every token of every window under every order.

  Args:
    windows_BT: integer tokens.
    alphas_K: smoothing of the orders 0 to K - 1, each above 0.
    alphabet_size: V, such as 256 for bytes, or `distinct` of the data.

  Returns:
    Bits [K, B, T], at least 0; position 0 costs log2 V.

  Raises:
    ValueError: `alphabet_size` is below 1.
  """
  alphas_K = jnp.asarray(alphas_K, jnp.float32)
  chex.assert_rank(alphas_K, 1)
  _check_alphabet(alphabet_size)
  seen = counts(windows_BT, alphas_K.shape[0])
  return _bits(seen, alphas_K, alphabet_size)


@jax.jit
def _bits(seen: Counts, alphas_K: Array, alphabet_size: Array) -> Array:
  alphas_K11 = alphas_K[:, None, None]
  token_KBT = seen.token + alphas_K11
  context_KBT = seen.context + alphas_K11 * alphabet_size
  return jnp.log2(context_KBT / token_KBT)


def fit(
  windows_BT: Array,
  alphabet_size: int,
  *,
  last: int | None = None,
  grid: Sequence[float] = GRID,
  num_orders: int = NUM_ORDERS,
) -> Array:
  """The smoothing with the fewest bits, for every order.

  Args:
    windows_BT: integer tokens; windows for training, not those of the test.
    alphabet_size: V.
    last: how many positions at the end of a window count; None is all.
    grid: smoothings to try, each above 0.
    num_orders: K, for the orders 0 to K - 1.

  Returns:
    alphas_K, each one of `grid`.

  Raises:
    ValueError: an argument is out of its range.
  """
  chex.assert_rank(windows_BT, 2)
  T = windows_BT.shape[1]
  last = T if last is None else last
  if not 1 <= last <= T:
    raise ValueError(f"last={last} must be from 1 to the window's length {T}")
  if not grid or min(grid) <= 0:
    raise ValueError(f"grid={tuple(grid)} must hold numbers above 0")
  if num_orders < 1:
    raise ValueError(f"num_orders={num_orders} must be at least 1")
  _check_alphabet(alphabet_size)
  seen = counts(windows_BT, num_orders)
  seen = jax.tree.map(lambda x_KBT: x_KBT[:, :, T - last :], seen)
  alphas_N = jnp.asarray(grid, jnp.float32)
  cost_NK = _mean_bits(seen, alphas_N, alphabet_size)
  return alphas_N[jnp.argmin(cost_NK, axis=0)]


@jax.jit
def _mean_bits(seen: Counts, alphas_N: Array, alphabet_size: Array) -> Array:
  num_orders = seen.token.shape[0]
  cost = lambda alpha: jnp.mean(
    _bits(seen, jnp.full(num_orders, alpha), alphabet_size), axis=(1, 2)
  )
  return jax.lax.map(cost, alphas_N)


def tuned_bits(
  tuning_BT: Array, test_BT: Array, alphabet_size: int, *, last: int
) -> Array:
  """Bits of test windows, smoothed as suits the end of other windows.

  Args:
    tuning_BT: integer tokens, windows to tune the smoothing on.
    test_BT: integer tokens.
    alphabet_size: V.
    last: positions at the end of the tuning windows that count.

  Returns:
    Bits [K, B, T] of `test_BT`.
  """
  alphas_K = fit(tuning_BT, alphabet_size, last=last)
  return bits(test_BT, alphas_K, alphabet_size)


def distinct(windows_BT: Array) -> int:
  """How many different tokens there are: the data's own alphabet size."""
  return jnp.unique(windows_BT).size


def _check_alphabet(alphabet_size: int) -> None:
  if alphabet_size < 1:
    raise ValueError(f"alphabet_size={alphabet_size} must be at least 1")
