"""Addition of two numbers of several digits."""

import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.sequences import task as tasks
from simplex.data.sequences.task import Task

PLUS, EQUALS = 10, 11


@dataclasses.dataclass(frozen=True)
class Config:
  """`digits` of each number, from 1 to 9; the paper has 4."""

  digits: int = 4

  def __post_init__(self):
    if not 1 <= self.digits <= 9:
      raise ValueError(f"digits={self.digits} must be from 1 to 9")


def task(config: Config) -> Task:
  """Numbers a + b = c, c with its lowest digit first and one digit more.

  Both numbers are uniform from 1 to 10^digits - 1, highest digit first, padded
  with zeros. The query of a digit should look at the two digits of its place
  and at the two of the place below, from which most carries follow.
  """
  n = config.digits

  def sample(key):
    numbers_2 = jax.random.randint(key, (2,), 1, 10**n)
    tens_N = 10 ** jnp.arange(n)
    low_2N = numbers_2[:, None] // tens_N % 10
    carry, low = jax.lax.scan(_add_digit, 0, low_2N.T)
    a, b = low_2N[:, ::-1]
    plus, equals = jnp.array([PLUS]), jnp.array([EQUALS])
    return jnp.concatenate([a, plus, b, equals, low, carry[None]])

  def rows(i):
    places = [j for j in (i - 1, i) if 0 <= j < n]
    return [n - 1 - j for j in places] + [2 * n - j for j in places]

  map_LMS = tasks.keys_of(rows, n + 1, 3 * n + 2)[None]
  return Task(12, 2 * n + 2, n + 1, sample, lambda _: map_LMS, slice(0, -1))


def _add_digit(carry, pair):
  total = carry + pair.sum()
  return total // 10, total % 10
