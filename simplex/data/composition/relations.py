"""Composition of binary relations, and its quotient by a colouring.

Sections 3.2.3 and 5 of Kozachinskiy et al. 2025,
https://arxiv.org/abs/2501.19215, as a question about one pair of nodes.
"""

from collections.abc import Callable
import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.composition import question
from simplex.types import Array, Batch, Key


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes.

  Attributes:
    nodes: m, at least 4; even with `quotient`.
    quotient: whether the two steps may meet in different nodes of one colour,
      and only in such; there are m / 2 colours, each of two nodes.
  """

  nodes: int = 4
  quotient: bool = False

  def __post_init__(self):
    if self.nodes < 4 or (self.quotient and self.nodes % 2):
      raise ValueError(
        f"nodes={self.nodes} must be at least 4, and even with a quotient"
      )

  @property
  def colours(self) -> int:
    return self.nodes // 2 if self.quotient else 1

  @property
  def vocab_size(self) -> int:
    return 4 * self.colours**2 + self.nodes**2

  @property
  def num_classes(self) -> int:
    return 2

  @property
  def length(self) -> int:
    return self.nodes**2 + 1


def sampler(cfg: Config) -> Callable[[Key], Batch]:
  """m^2 facts, A_ij and B_ij (and the colours of i and j), and a question i, j.

  The answer is 1 when A_ik = B_kj = 1 for some k; with `quotient`, when A_ik =
  B_lj = 1 for some k != l of one colour.

  Row i of A and column j of B have two ones each. They share one node when the
  answer is 1 and none otherwise; with `quotient` they share one colour (both,
  when there are two), in its two nodes or in the same. Which nodes is random,
  so both answers are as likely, and each bit is as likely 1 in both: only two
  facts together tell. Other rows and columns are random with as many ones.
  """
  m, C = cfg.nodes, cfg.colours
  draw = _quotient if cfg.quotient else _plain

  def sample(key: Key) -> Batch:
    keys = jax.random.split(key, 4)
    u = jax.random.uniform(keys[0], (3,))
    i, j = jnp.floor(u[:2] * m).astype(jnp.int32)
    label = (u[2] < 0.5).astype(jnp.int32)
    row, column, colours = draw(keys[1], label, m)
    bits = jax.random.bernoulli(keys[2], 2 / m, (2, m, m)).astype(jnp.int32)
    A = bits[0].at[i].set(row)
    B = bits[1].at[:, j].set(column)
    facts = 2 * A + B + 4 * (C * colours[:, None] + colours)
    return question.example(facts.reshape(-1), 4 * C**2 + m * i + j, label)

  return sample


def _ones(nodes: Array, m: int) -> Array:
  return jnp.zeros(m, jnp.int32).at[nodes].set(1)


def _plain(key: Key, label: Array, m: int) -> tuple[Array, Array, Array]:
  nodes = question.permutation(key, m)
  second = jnp.where(label, nodes[0], nodes[2])
  column = _ones(jnp.stack([second, nodes[3]]), m)
  return _ones(nodes[:2], m), column, jnp.zeros(m, jnp.int32)


def _quotient(key: Key, label: Array, m: int) -> tuple[Array, Array, Array]:
  nodes_key, name_key, side_key = jax.random.split(key, 3)
  C = m // 2
  nodes = question.permutation(nodes_key, m).reshape(C, 2)
  names = question.permutation(name_key, C)
  colours = jnp.zeros(m, jnp.int32).at[nodes].set(names[:, None])
  # Two colours for the row and two for the column; the first is shared.
  row = _ones(nodes[:2, 0], m)
  met = jnp.where(label, nodes[0, 1], nodes[0, 0])
  side = jax.random.bernoulli(side_key).astype(jnp.int32)
  other = nodes[2, side] if C > 2 else nodes[1, 0]
  return row, _ones(jnp.stack([met, other]), m), colours
