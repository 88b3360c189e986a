"""First keys of queries, and which blocks lie before or behind them.

A query sees a key from `seen` to itself, if it is of its segment. It sees all
keys from `whole` to itself.
"""

import jax
import jax.numpy as jnp

from simplex.kernels.forgetting_attention.canonical import Inputs
from simplex.kernels.forgetting_attention.tiles import Tiles
from simplex.types import Array


def of_blocks(first_BHM: Array, window: int, c: Tiles) -> Array:
  """First keys `[B, H, T]` by the first blocks of N keys of M queries."""
  first_BHT = jnp.repeat(c.N * first_BHM, c.M, axis=-1)[..., : c.T]
  return jnp.maximum(first_BHT, c.past + jnp.arange(c.T) - window + 1)


def of_rows(
  inputs: Inputs, start_BHT: Array | None
) -> tuple[Array | None, Array | None]:
  """`(seen, whole)` of queries that count no key before `start_BHT`."""
  if inputs.segments_BS is None:
    return start_BHT, start_BHT
  B, T, H, _ = inputs.q_BTHD.shape
  found = (x_BT[:, None] for x_BT in _of_segments(inputs))
  if start_BHT is None:
    start_BHT = jnp.zeros((B, H, T), jnp.int32)
  return tuple(jnp.maximum(start_BHT, x_B1T) for x_B1T in found)


def of_queries(
  seen_BHT: Array | None, whole_BHT: Array | None, c: Tiles
) -> tuple[Array | None, Array | None]:
  """For each block of queries the least of `seen` and the most of `whole`."""
  if seen_BHT is None:
    return None, None
  return _blocks(seen_BHT, c).min(-1), _blocks(whole_BHT, c).max(-1)


def of_keys(
  seen_BHT: Array | None, whole_BHT: Array | None, c: Tiles
) -> tuple[Array | None, Array | None]:
  """For each block of keys two numbers of blocks of queries, `[B, H, N]`.

  Returns:
    `(whole, stop)`: those behind it that are less than `whole` see all of it;
    those from `stop` see none of it.
  """
  if seen_BHT is None:
    return None, None
  least_BHM, most_BHM = of_queries(seen_BHT, whole_BHT, c)
  keys_N1 = c.N * jnp.arange(c.key_blocks)[:, None]
  most_BHM = jax.lax.cummax(most_BHM, axis=2)
  whole_BHNM = most_BHM[..., None, :] <= keys_N1
  least_BHM = jax.lax.cummin(least_BHM, axis=2, reverse=True)
  stop_BHNM = least_BHM[..., None, :] < keys_N1 + c.N
  count = lambda x_BHNM: x_BHNM.sum(-1, dtype=jnp.int32)
  return count(whole_BHNM), count(stop_BHNM)


def _blocks(x_BHT, c):
  edges = (0, 0), (0, 0), (0, -c.T % c.M)
  x_BHT = jnp.pad(x_BHT, edges, mode="edge")
  return x_BHT.reshape(*x_BHT.shape[:2], -1, c.M)


def _of_segments(inputs):
  """`(seen, whole)`, `[B, T]`; neither is a key for a query of padding.

  No key before the first whose segment is not smaller than the query's, so far
  as is known from the largest up to it: exact where segments only grow.
  """
  segments_BT, segments_BS = inputs.segments_BT, inputs.segments_BS
  S, T = segments_BS.shape[1], segments_BT.shape[1]
  highest_BS = jax.lax.cummax(segments_BS, axis=1)
  seen_BT = jax.vmap(jnp.searchsorted)(highest_BS, segments_BT)
  changes_BS = segments_BS[:, 1:] != segments_BS[:, :-1]
  changes_BS = jnp.pad(changes_BS, ((0, 0), (1, 0)))
  run_BS = jax.lax.cummax(jnp.where(changes_BS, jnp.arange(S), 0), axis=1)
  after_T = S - T + jnp.arange(T) + 1
  none = lambda x_BT: jnp.where(segments_BT < 0, after_T, x_BT)
  found = none(seen_BT), none(run_BS[:, S - T :])
  return tuple(x_BT.astype(jnp.int32) for x_BT in found)
