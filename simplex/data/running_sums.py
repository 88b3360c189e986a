"""Sums that are worked out step by step: a question, its reasoning, an answer.

x_1 .. x_n : s_1 .. s_n = s_n with s_i = x_1 + ... + x_i modulo M. The reasoning
is what a student learns from; a model that has learned from reasoning with
errors in it and right answers does not depend on each of its steps.
"""

from collections.abc import Callable, Sequence
import dataclasses

import jax
import jax.numpy as jnp

from simplex.types import Array, Batch, Key


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes.

  Attributes:
    length: n, digits of a question.
    modulus: M; digits are in [0, M), ":" is M and "=" is M + 1.
  """

  length: int = 5
  modulus: int = 10

  def __post_init__(self):
    for name, least in (("length", 1), ("modulus", 2)):
      if getattr(self, name) < least:
        raise ValueError(
          f"{name}={getattr(self, name)} is not at least {least}"
        )

  @property
  def vocab_size(self) -> int:
    """V."""
    return self.modulus + 2

  @property
  def prompt_length(self) -> int:
    """The tokens of a question, ":" included."""
    return self.length + 1

  @property
  def completion_length(self) -> int:
    """The tokens after it: the reasoning, "=" and the answer."""
    return self.length + 2


def prompt(config: Config, key: Key) -> Array:
  """A question, `[n + 1]`."""
  digits_N = jax.random.randint(key, (config.length,), 0, config.modulus)
  return jnp.append(digits_N, config.modulus)


def completion(config: Config, prompt_T: Array) -> Array:
  """The right reasoning and answer to a question, `[n + 2]`."""
  sums_N = jnp.cumsum(prompt_T[:-1]) % config.modulus
  return jnp.concatenate([sums_N, jnp.stack([config.modulus + 1, sums_N[-1]])])


def text(config: Config, tokens_T: Sequence[int]) -> str:
  """Tokens in letters."""
  M = config.modulus
  return "".join(str(t) if t < M else ":="[t - M] for t in tokens_T)


def sampler(
  config: Config, errors: float | Array = 0.0
) -> Callable[[Key], Batch]:
  """Samples `tokens`, the `targets` after them, and the `mask` of completions.

  Args:
    config: sizes.
    errors: the share of steps of the reasoning that are another digit, each
      drawn by itself; the steps after it and the answer are right.

  Raises:
    ValueError: errors is a number outside of [0, 1].
  """
  if not isinstance(errors, jax.Array) and not 0 <= errors <= 1:
    raise ValueError(f"errors={errors} is not in [0, 1]")

  def sample(key):
    prompt_key, error_key, digit_key = jax.random.split(key, 3)
    question_T = prompt(config, prompt_key)
    right_T = completion(config, question_T)
    steps_N, rest = right_T[: config.length], right_T[config.length :]
    wrong_N = jax.random.bernoulli(error_key, errors, steps_N.shape)
    shifts_N = jax.random.randint(digit_key, steps_N.shape, 1, config.modulus)
    steps_N = (steps_N + wrong_N * shifts_N) % config.modulus
    return example(jnp.concatenate([question_T, steps_N, rest]), config)

  return sample


def example(text_T: Array, config: Config) -> Batch:
  """A whole text as what a model learns from, completions alone."""
  targets_T = text_T[1:].astype(jnp.int32)
  asked = jnp.arange(len(targets_T)) >= config.prompt_length - 1
  return {
    "tokens": text_T[:-1].astype(jnp.int32),
    "targets": targets_T,
    "mask": asked.astype(jnp.float32),
  }
