"""Moving-window sums modulo p, the main task of the abrupt-learning paper."""

import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.sequences import task as tasks
from simplex.data.sequences.task import Task


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes; the defaults are the paper's.

  Attributes:
    length: n, numbers in the prompt, at least `window`.
    window: k, numbers in a sum.
    modulus: p; numbers are uniform from 1 to p - 1.
  """

  length: int = 16
  window: int = 2
  modulus: int = 17

  def __post_init__(self):
    tasks.check_at_least(1, length=self.length)
    tasks.check_at_least(2, modulus=self.modulus)
    if not 1 <= self.window <= self.length:
      raise ValueError(
        f"window={self.window} must be from 1 to length={self.length}"
      )


def task(config: Config) -> Task:
  """x_1 .. x_n, p, y_1 .. y_n: y_i = x_i for i < k, else the sum of k numbers.

  y_i = x_{i-k+1} + ... + x_i mod p. The query of y_i should look at just these
  numbers. The official code looks at two of the three for k = 3.
  """
  n, k, p = config.length, config.window, config.modulus

  def sample(key):
    x_N = jax.random.randint(key, (n,), 1, p)
    before_N = jnp.cumsum(jnp.pad(x_N, (1, 0)))
    sums = (before_N[k:] - before_N[:-k]) % p
    return jnp.concatenate([x_N, jnp.array([p]), x_N[: k - 1], sums])

  rows = lambda i: [i] if i < k - 1 else list(range(i - k + 1, i + 1))
  map_LMS = tasks.keys_of(rows, n, 2 * n)[None]
  return Task(p + 1, n + 1, n, sample, lambda _: map_LMS, slice(k - 1, None))
