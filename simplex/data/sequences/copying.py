"""Copies: forwards, in reverse, and of the first number again and again.

Controls: repeating has no plateau in the paper.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from simplex.data.sequences import task as tasks
from simplex.data.sequences.task import Task


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes.

  Attributes:
    kind: "copy", "reverse" or "repeat".
    length: n.
    values: numbers are uniform from 1 to this.
    blocks: of "repeat"; they divide n, and each adds 1 to the one before.
  """

  kind: Literal["copy", "reverse", "repeat"] = "copy"
  length: int = 16
  values: int = 16
  blocks: int = 1

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(f"kind={self.kind!r} is not one of {sorted(KINDS)}")
    tasks.check_at_least(
      1, length=self.length, values=self.values, blocks=self.blocks
    )
    if self.length % self.blocks:
      raise ValueError(f"blocks={self.blocks} must divide length={self.length}")


def task(config: Config) -> Task:
  """x_1 .. x_n, values + 1, y_1 .. y_n.

  The query of y_i should look at the x that it copies. In "repeat", where y is
  x_1 + block modulo values + 1, any earlier y will do as well.
  """
  n = config.length
  answer, rows, compared = KINDS[config.kind]

  def sample(key):
    x_N = jax.random.randint(key, (n,), 1, config.values + 1)
    separator = jnp.array([config.values + 1])
    return jnp.concatenate([x_N, separator, answer(x_N, config)])

  map_LMS = tasks.keys_of(lambda i: rows(i, n), n, 2 * n)[None]
  vocab_size = config.values + 2
  return Task(vocab_size, n + 1, n, sample, lambda _: map_LMS, compared)


def _repeat(x_N, config):
  block_N = jnp.arange(config.length) // (config.length // config.blocks)
  return (x_N[0] + block_N) % (config.values + 1)


# Kind to: the answer, the keys of answer i of n, and the answers compared.
KINDS = {
  "copy": (lambda x_N, _: x_N, lambda i, n: [i], slice(None)),
  "reverse": (
    lambda x_N, _: x_N[::-1],
    lambda i, n: [n - 1 - i],
    slice(None),
  ),
  "repeat": (
    _repeat,
    lambda i, n: [0, *range(n + 1, n + 1 + i)],
    slice(1, None),
  ),
}
