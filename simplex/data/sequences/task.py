"""What the sequence tasks have in common (Gopalani & Hu 2025, section 2).

Abrupt learning, https://arxiv.org/abs/2506.13688. A sequence is a prompt, whose
last token asks for the answer, and the answer. Attention is right when the
positions that predict the answer look at the tokens from which it follows.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from simplex.types import Array, Batch, Key


class Task(NamedTuple):
  """A task as pure functions of one example.

  Attributes:
    vocab_size: V; tokens are in [0, V).
    prompt_length: P, separators included.
    answer_length: M.
    sample: `key -> tokens [P + M]`.
    optimal: `tokens -> bool [L, M, S]`, S = P + M - 1: the keys at which the
      query that predicts an answer token should look, in each of L layers.
    compared: the answers whose hidden states are compared, which leaves out
      those that are a mere copy.
  """

  vocab_size: int
  prompt_length: int
  answer_length: int
  sample: Callable[[Key], Array]
  optimal: Callable[[Array], Array]
  compared: slice = slice(None)

  @property
  def length(self) -> int:
    """S, the tokens that a model reads: all but the last."""
    return self.prompt_length + self.answer_length - 1


def sampler(task: Task) -> Callable[[Key], Batch]:
  """Samples `tokens`, the `targets` after them, and the `mask` of answers."""
  mask_S = jnp.arange(task.length) >= task.prompt_length - 1

  def sample(key: Key) -> Batch:
    sequence = task.sample(key).astype(jnp.int32)
    return {
      "tokens": sequence[:-1],
      "targets": sequence[1:],
      "mask": mask_S.astype(jnp.float32),
    }

  return sample


def keys_of(rows: Callable[[int], list[int]], answers: int, keys: int) -> Array:
  """A map [M, S] that is true at the keys `rows(i)` of each answer i."""
  map_MS = jnp.zeros((answers, keys), bool)
  for i in range(answers):
    map_MS = map_MS.at[i, jnp.array(rows(i))].set(True)
  return map_MS


def check_at_least(least: int, **sizes: int) -> None:
  """Raises a ValueError that names the first size below `least`."""
  for name, size in sizes.items():
    if size < least:
      raise ValueError(f"{name}={size} must be at least {least}")
