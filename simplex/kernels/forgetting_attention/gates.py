"""Sums of log forget gates: the decay between any two positions, exactly.

The decay of key j for query i is the sum of the log gates of j + 1 to i, which
is c_i - c_j with c the prefix sums. In float32 that difference is wrong by the
rounding of c, which grows with the length: 4e-3 at 64k tokens. So c is kept as
the sum of two numbers, and the parts are subtracted before they are added.
"""

import jax
import jax.numpy as jnp

from simplex.types import Array

# Of a log gate. exp() of it is 0, and sums of it stay finite.
LEAST = -1e4


def prefix_sums(log_f_BHS: Array) -> tuple[Array, Array]:
  """Inclusive prefix sums along S as `(high, low)`, whose sum is exact.

  The rounding of `high`, half a unit in its last place, is in `low`. In steps
  of 1, 2, 4, ... each position adds what the position so far before it has.
  """
  S = log_f_BHS.shape[-1]
  positions_S = jnp.arange(S)

  def double(step, sums):
    earlier = (
      jnp.where(positions_S >= step, jnp.roll(x, step, axis=-1), 0)
      for x in sums
    )
    return add(sums, tuple(earlier))

  def body(level, sums):
    return double(jnp.left_shift(1, level), sums)

  levels = max(S - 1, 0).bit_length()
  start = log_f_BHS, jnp.zeros_like(log_f_BHS)
  return jax.lax.fori_loop(0, levels, body, start)


def decay(high_q, low_q, high_k, low_k):
  """`c_q - c_k` of parts that broadcast; exact where the two are near."""
  return (high_q - high_k) + (low_q - low_k)


def add(x, y):
  """Sum of two numbers of two parts each (Knuth's two-sum)."""
  high, low = x[0] + y[0], x[1] + y[1]
  shadow = high - x[0]
  low += (x[0] - (high - shadow)) + (y[0] - shadow)
  total = high + low
  return total, low - (total - high)
