"""How often each symbol of a sequence occurs in it."""

import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.sequences import task as tasks
from simplex.data.sequences.task import Task


@dataclasses.dataclass(frozen=True)
class Config:
  """n symbols, uniform among `symbols` of them, which are 12 in the paper."""

  length: int = 10
  symbols: int = 12

  def __post_init__(self):
    tasks.check_at_least(1, length=self.length, symbols=self.symbols)


def task(config: Config) -> Task:
  """x_1 .. x_n, 0, y_1 .. y_n with y_i the number of j for which x_j = x_i.

  Two layers: the query of y_i should look at x_i in the first (the paper
  follows that alone), and at all x_j = x_i in the second.
  """
  n = config.length

  def sample(key):
    x_N = jax.random.randint(key, (n,), 1, config.symbols + 1)
    counts_N = (x_N[:, None] == x_N).sum(1)
    return jnp.concatenate([x_N, jnp.zeros(1, jnp.int32), counts_N])

  first_MS = tasks.keys_of(lambda i: [i], n, 2 * n)

  def optimal(tokens):
    x_N = tokens[:n]
    same_NN = x_N[:, None] == x_N
    return jnp.stack([first_MS, jnp.pad(same_NN, ((0, 0), (0, n)))])

  vocab_size = max(config.symbols, n) + 1
  return Task(vocab_size, n + 1, n, sample, optimal)
