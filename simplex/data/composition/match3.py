"""Match3: do two facts and the question sum to zero modulo M?

Sanford et al. 2023, https://arxiv.org/abs/2306.02896, as a question to an
auxiliary token (Theorem 3.2 of Kozachinskiy et al. 2025,
https://arxiv.org/abs/2501.19215).
"""

from collections.abc import Callable
import dataclasses

import jax
import jax.numpy as jnp

from simplex.data.composition import question
from simplex.types import Array, Batch, Key

BLANK = 0  # as in the paper, no fact is 0


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes.

  Attributes:
    modulus: M, odd and no multiple of 3.
    facts: N, at most (M - 5) / 2, the pairs of residues there are.
    fewest: examples have from `fewest` to N facts; the rest are blanks.
    short: share of examples that have just `fewest` facts; the numbers of the
      others are uniform.
    single: share of positive examples with one match; the others have from one
      to half as many as facts.
  """

  modulus: int = 23
  facts: int = 6
  fewest: int = 6
  short: float = 0.0
  single: float = 1.0

  def __post_init__(self):
    M = self.modulus
    if M < 11 or not M % 2 or not M % 3:
      raise ValueError(
        f"modulus={M} must be odd, no multiple of 3, and at least 11"
      )
    if not 2 <= self.facts <= (M - 5) // 2:
      raise ValueError(
        f"facts={self.facts} must be from 2 to (modulus - 5) / 2, here "
        f"{(M - 5) // 2}"
      )
    if not 2 <= self.fewest <= self.facts:
      raise ValueError(
        f"fewest={self.fewest} must be from 2 to facts={self.facts}"
      )

  @property
  def vocab_size(self) -> int:
    return self.modulus

  @property
  def num_classes(self) -> int:
    return 2

  @property
  def length(self) -> int:
    return self.facts + 2


def hardest(cfg: Config) -> Config:
  """All facts, and one match or none: the law on which models are tested."""
  return dataclasses.replace(cfg, fewest=cfg.facts, short=0.0, single=1.0)


def sampler(cfg: Config) -> Callable[[Key], Batch]:
  """A blank, N facts in random order, a question q; the answer is 0 or 1.

  The residues a and -q - a are partners: both among the facts are a match.
  Facts of a negative example come from different pairs of partners, a random
  one of each; a positive example is a negative one in which one fact (or more)
  is replaced by the partner of another. So both answers are as likely, facts
  differ from each other in both, and each fact is as likely any residue in
  both: only two facts together tell. Residues that would match alone or with
  the question (a = -q - a, a = q, a = -2q) and 0, with its partner, are left
  out.
  """
  M, N = cfg.modulus, cfg.facts

  def sample(key: Key) -> Batch:
    keys = jax.random.split(key, 4)
    q = jax.random.randint(keys[0], (), 1, M)
    label, is_short, length, is_single, matches = jax.random.uniform(
      keys[1], (5,)
    )
    facts_N = _negative(keys[2], q, cfg)
    L = cfg.fewest + jnp.floor(length * (N - cfg.fewest + 1)).astype(jnp.int32)
    L = jnp.where(is_short < cfg.short, cfg.fewest, L)
    m = 1 + jnp.floor(matches * (L // 2)).astype(jnp.int32)
    m = jnp.where(is_single < cfg.single, 1, m) * (label < 0.5)
    indices_N = jnp.arange(N)
    partners_N = (-q - jnp.roll(facts_N, -m)) % M
    facts_N = jnp.where(indices_N < m, partners_N, facts_N)
    facts_N = jnp.where(indices_N < L, facts_N, BLANK)
    facts_N = facts_N[question.permutation(keys[3], N)]
    blank = jnp.full((1,), BLANK)
    return question.example(jnp.append(blank, facts_N), q, label < 0.5)

  return sample


def _negative(key: Key, q: Array, cfg: Config) -> Array:
  """N residues of different pairs of partners, a random one of each."""
  M = cfg.modulus
  # Partners lie at equal distances from the residue that is half of -q.
  distance = jnp.arange(1, (M + 1) // 2)
  middle = -q * ((M + 1) // 2)
  pairs = jnp.stack([middle + distance, middle - distance]) % M
  bad = ((pairs == 0) | (pairs == q)).any(0)
  order_key, side_key = jax.random.split(key)
  # The good ones first, in a random order.
  random = question.permutation(order_key, len(distance))
  rank = random + len(distance) * bad
  place = (rank < rank[:, None]).sum(1)
  chosen_N = jnp.argmax(place == jnp.arange(cfg.facts)[:, None], axis=1)
  side_N = jax.random.bernoulli(side_key, shape=(cfg.facts,))
  return jnp.where(side_N, *pairs[:, chosen_N])


def matches(tokens_T: Array, modulus: int) -> Array:
  """Where x_i + x_j + x_k = 0 mod M for some j, k, `[T]`: the full task.

  Positions may repeat, and 0 is a residue like any other.
  """
  pairs_SR = tokens_T[:, None] + tokens_T
  return ((tokens_T[:, None, None] + pairs_SR) % modulus == 0).any((1, 2))


def few_kinds(
  length: int, modulus: int, most: int = 10
) -> Callable[[Key], Array]:
  """A sampler of `tokens_T` on which about half of the positions match.

  Tokens are uniform on k different residues from 1 to M - 1, and k is uniform
  from 1 to `most`. Uniform residues would match nearly everywhere.
  """

  def sample(key: Key) -> Array:
    kinds_key, count_key, token_key = jax.random.split(key, 3)
    kinds = 1 + question.permutation(kinds_key, modulus - 1)
    k = jax.random.randint(count_key, (), 1, most + 1)
    return kinds[jax.random.randint(token_key, (length,), 0, k)]

  return sample
