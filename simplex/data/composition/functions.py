"""Composition of functions that are given as tables.

Peng et al. 2024, https://arxiv.org/abs/2402.08164; Theorem 3.4 and section 6
of Kozachinskiy et al. 2025, https://arxiv.org/abs/2501.19215.
"""

from collections.abc import Callable
import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.composition import question
from simplex.types import Batch, Key


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes; n is the number of values, at least 2.

  Attributes:
    values: n.
    permutations: two permutations g and h and a question x, answered by
      h(g(x)); without, one function, answered by f(f(0)).
  """

  values: int = 12
  permutations: bool = False

  def __post_init__(self):
    if self.values < 2:
      raise ValueError(f"values={self.values} must be at least 2")

  @property
  def vocab_size(self) -> int:
    return self.values + (not self.permutations)

  @property
  def num_classes(self) -> int:
    return self.values

  @property
  def length(self) -> int:
    return 2 * self.values + 1 if self.permutations else self.values + 2


def sampler(cfg: Config) -> Callable[[Key], Batch]:
  return _permutations(cfg) if cfg.permutations else _function(cfg)


def _function(cfg: Config) -> Callable[[Key], Batch]:
  """f(0), f(1), ..., f(n) and an empty question; the answer is f(f(0)) - 1.

  f(0) is uniform on 1 to n, and f takes each of these values once on 1 to n. So
  the answer is uniform given f(0), and given all values without their places:
  only f(0) and a place together tell. (For any other f, the most frequent value
  would be a good guess.)
  """
  n = cfg.values

  def sample(key: Key) -> Batch:
    first_key, rest_key = jax.random.split(key)
    first = jax.random.randint(first_key, (1,), 1, n + 1)
    rest = 1 + question.permutation(rest_key, n)
    f = jnp.concatenate([first, rest])
    return question.example(f, 0, f[f[0]] - 1)

  return sample


def _permutations(cfg: Config) -> Callable[[Key], Batch]:
  """g(0), ..., g(n-1), h(0), ..., h(n-1), x; the answer is h(g(x))."""
  n = cfg.values

  def sample(key: Key) -> Batch:
    g_key, h_key, x_key = jax.random.split(key, 3)
    g = question.permutation(g_key, n)
    h = question.permutation(h_key, n)
    x = jax.random.randint(x_key, (), 0, n)
    return question.example(jnp.concatenate([g, h]), x, h[g[x]])

  return sample
