"""Prefix sums modulo p."""

import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.sequences import task as tasks
from simplex.data.sequences.task import Task


@dataclasses.dataclass(frozen=True)
class Config:
  """n numbers, uniform from 1 to p - 1; the defaults are the paper's."""

  length: int = 16
  modulus: int = 17

  def __post_init__(self):
    tasks.check_at_least(1, length=self.length)
    tasks.check_at_least(2, modulus=self.modulus)


def task(config: Config) -> Task:
  """x_1 .. x_n, p, y_1 .. y_n with y_i = x_1 + ... + x_i mod p.

  The query of y_i should look at x_i and at y_{i-1}, on which it stands.
  """
  n, p = config.length, config.modulus

  def sample(key):
    x_N = jax.random.randint(key, (n,), 1, p)
    return jnp.concatenate([x_N, jnp.array([p]), jnp.cumsum(x_N) % p])

  rows = lambda i: [i, n + i] if i else [0]
  map_LMS = tasks.keys_of(rows, n, 2 * n)[None]
  return Task(p + 1, n + 1, n, sample, lambda _: map_LMS, slice(1, None))
