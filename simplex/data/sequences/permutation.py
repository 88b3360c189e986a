"""A permutation applied to a sequence."""

import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.sequences import task as tasks
from simplex.data.sequences.task import Task


@dataclasses.dataclass(frozen=True)
class Config:
  """n numbers, and how many `values` they have; the paper has 16 of both."""

  length: int = 16
  values: int = 16

  def __post_init__(self):
    tasks.check_at_least(1, length=self.length, values=self.values)


def task(config: Config) -> Task:
  """x_1 .. x_n, 0, pi_1 .. pi_n, 0, y_1 .. y_n with y_i = x at pi_i.

  Places are the tokens 1 to n, numbers those above. Two layers: the query of
  y_i should look at pi_i in the first, and at the number there in the second.
  """
  n = config.length

  def sample(key):
    x_key, pi_key = jax.random.split(key)
    x_N = n + 1 + jax.random.randint(x_key, (n,), 0, config.values)
    pi_N = jax.random.permutation(pi_key, n)
    zero = jnp.zeros(1, jnp.int32)
    return jnp.concatenate([x_N, zero, pi_N + 1, zero, x_N[pi_N]])

  first_MS = tasks.keys_of(lambda i: [n + 1 + i], n, 3 * n + 1)

  def optimal(tokens):
    pi_N = tokens[n + 1 : 2 * n + 1] - 1
    return jnp.stack([first_MS, jnp.arange(3 * n + 1) == pi_N[:, None]])

  return Task(n + config.values + 1, 2 * n + 2, n, sample, optimal)
