r"""Which blocks of keys a query has forgotten, provably.

A key with decay D and a logit of at most U, in a row whose own key has a logit
of at least -U, has a weight of at most exp(2 U + D). Leaving out all keys with
D < delta loses at most `L exp(2 U + delta)` of the weight of a row of L keys
(adaptive computation pruning, Lin et al. 2025,
https://arxiv.org/abs/2504.06949). Decays only grow with age, so what is left
out is a prefix of the keys: of the blocks of keys, for a block of queries.

"online" needs no U: a block of queries walks back from its diagonal and stops
before block n when, for all its rows,

  scale |q| max_{j <= end} |k_j| + D_end + log(end + 1) < lse + LOG_EPSILON

with `end` the last position of block n and lse of what has been seen so far.

Every backend has block sizes of its own, so it calls these with its own.
"""

import jax.numpy as jnp

from simplex.kernels.forgetting_attention import gates
from simplex.types import Array

# Of the weight that a row may lose.
LOG_EPSILON = -10.0
RULES = ("paper", "online")


def bound(q_BTHD: Array, k_BSGD: Array, scale: float) -> Array:
  """U: no logit of a head is larger in absolute value, `[B, H]`."""
  H, G = q_BTHD.shape[2], k_BSGD.shape[2]
  longest = lambda x: norms(x).max(axis=1)
  return abs(scale) * longest(q_BTHD) * jnp.repeat(longest(k_BSGD), H // G, -1)


def norms(x_BTHD: Array) -> Array:
  """Lengths, `[B, T, H]`, float32, rounded up a little."""
  squares = jnp.square(x_BTHD.astype(jnp.float32)).sum(-1)
  return jnp.sqrt(squares) * (1 + 1e-5)


def largest_threshold(
  bound_BH: Array, S: int, log_epsilon: Array | float = LOG_EPSILON
) -> Array:
  """delta: leaving out keys of less decay loses at most e^log_epsilon."""
  return log_epsilon - jnp.log(float(S)) - 2 * bound_BH


def first_blocks(
  high_BHS: Array,
  low_BHS: Array,
  threshold_BH: Array | None,
  *,
  T: int,
  window: int,
  block_q: int,
  block_k: int,
) -> Array:
  """The first block of keys that each block of queries must see.

  Args:
    high_BHS: prefix sums of the log gates, as is `low_BHS`.
    low_BHS: their rounding.
    threshold_BH: decays below it are left out; None leaves out nothing.
    T: queries, the last T of the S positions.
    window: keys that a position sees.
    block_q: queries in a block; the first block begins with the first query.
    block_k: keys in a block; the first block begins with the first key.

  Returns:
    Integers, `[B, H, M]`, for M blocks of queries.
  """
  S = high_BHS.shape[-1]
  firsts_M = S - T + jnp.arange(0, T, block_q)
  first_BHM = jnp.maximum(firsts_M - window + 1, 0) // block_k
  first_BHM = jnp.broadcast_to(first_BHM, (*high_BHS.shape[:2], len(firsts_M)))
  if threshold_BH is None:
    return first_BHM.astype(jnp.int32)
  ends_N = jnp.minimum(jnp.arange(block_k, S + block_k, block_k), S) - 1
  decay_BHMN = gates.decay(
    high_BHS[..., firsts_M, None],
    low_BHS[..., firsts_M, None],
    high_BHS[..., None, ends_N],
    low_BHS[..., None, ends_N],
  )
  # The block with the first query itself is never forgotten.
  gone_BHMN = (decay_BHMN < threshold_BH[..., None, None]) & (
    ends_N < firsts_M[:, None]
  )
  return jnp.maximum(first_BHM, gone_BHMN.sum(-1)).astype(jnp.int32)


def last_blocks(S: int, T: int, block_q: int, block_k: int) -> Array:
  """The last block of keys that each block of queries can see, `[M]`."""
  lasts_M = jnp.minimum(jnp.arange(block_q, T + block_q, block_q), T) - 1
  return ((S - T + lasts_M) // block_k).astype(jnp.int32)


def largest_keys(k_BSGD: Array, block_k: int) -> Array:
  """Length of the longest key of each block and all before, `[B, G, N]`."""
  norms_BGS = norms(k_BSGD).swapaxes(1, 2)
  S = norms_BGS.shape[-1]
  padded = jnp.pad(norms_BGS, ((0, 0), (0, 0), (0, -S % block_k)))
  blocks = padded.reshape(*padded.shape[:2], -1, block_k).max(-1)
  return jnp.maximum.accumulate(blocks, axis=-1)


def skipped(first_BHM: Array, lowest_BHM: Array, last_M: Array) -> Array:
  """Fraction of the blocks within window and causal mask left out, `[B, H]`.

  Args:
    first_BHM: the first block that was visited.
    lowest_BHM: the first block that would be without pruning.
    last_M: the last block.
  """
  # Exactly 0 where the two are the same, unlike 1 less what was visited.
  return (first_BHM - lowest_BHM).sum(-1) / (last_M - lowest_BHM + 1).sum(-1)
