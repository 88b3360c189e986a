"""Antidistillation fingerprinting: traces by which a student is recognised.

ADFP (Xu et al. 2026, https://arxiv.org/abs/2602.03812). A secret key and the
token before divide the vocabulary into green and red. The gradient of the
probability that a proxy student gives to green, with respect to its logits, is

    p(token) (1[token is green] - p(green)),

which is added to the teacher's logits: tokens are made more frequent by as much
as a student trained on them will learn to be green. It takes one pass of the
proxy and no derivative of it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special

from simplex.sampling import antidistillation
from simplex.sampling.transforms import Transform
from simplex.types import Array, Key, Params


def green(key: Key, previous_B: Array, vocab_size: int, share: float) -> Array:
  """Which tokens are green after each token, `[B, V]`, bool.

  Args:
    key: the secret.
    previous_B: the tokens before.
    vocab_size: V.
    share: of the vocabulary that is green, on average.
  """
  draw = lambda token: jax.random.bernoulli(
    jax.random.fold_in(key, token), share, (vocab_size,)
  )
  return jax.vmap(draw)(previous_B)


def gradient(
  probs_BV: Array, previous_B: Array, key: Key, share: float = 0.5
) -> Array:
  """Of the probability of green, by the logits behind `probs_BV`, `[B, V]`."""
  green_BV = green(key, previous_B, probs_BV.shape[-1], share)
  chance_B1 = jnp.sum(probs_BV * green_BV, axis=-1, keepdims=True)
  return probs_BV * (green_BV - chance_B1)


def fingerprint(
  extend_fn: Callable[[Params, Array, Any], tuple[Array, Any]],
  params: Params,
  caches: Any,
  weight: float | Array,
  *,
  key: Key,
  share: float = 0.5,
) -> Transform:
  """Adds `weight p (1[green] - p(green))` to the logits, p of the proxy.

  Args:
    extend_fn: of the proxy, `(params, tokens_BT, caches) -> (logits_BTV,
      caches)`.
    params: its parameters.
    caches: of texts that have not begun.
    weight: lambda; at 0 logits are returned as they are.
    key: the secret.
    share: of green tokens, in (0, 1).

  Raises:
    ValueError: share is not in (0, 1), or, as it is traced, the proxy has
      another vocabulary.
  """
  _check_share(share)

  def apply(logits_BV, state):
    proxy_BTV, caches = extend_fn(params, state.tokens_BT, state.memory)
    antidistillation.check_vocabulary(logits_BV, proxy_BTV[:, -1])
    probs_BV = jax.nn.softmax(proxy_BTV[:, -1].astype(jnp.float32))
    more_BV = gradient(probs_BV, state.tokens_BT[:, -1], key, share)
    return logits_BV + weight * more_BV, state._replace(memory=caches)

  return Transform(apply, caches)


def red_green(
  weight: float | Array, *, key: Key, share: float = 0.5
) -> Transform:
  """Adds `weight` to the logits of green tokens: the baseline without a proxy.

  Kirchenbauer et al. 2023, https://arxiv.org/abs/2301.10226.

  Raises:
    ValueError: share is not in (0, 1).
  """
  _check_share(share)

  def apply(logits_BV, state):
    previous_B = state.tokens_BT[:, -1]
    green_BV = green(key, previous_B, logits_BV.shape[-1], share)
    return logits_BV + weight * green_BV, state

  return Transform(apply)


def green_share(
  tokens_BT: Array,
  mask_BT: Array,
  key: Key,
  vocab_size: int,
  share: float = 0.5,
) -> Array:
  """The share of tokens that are green after the one before, a scalar.

  Args:
    tokens_BT: texts.
    mask_BT: which tokens count; never the first of a text.
    key: a secret.
    vocab_size: V.
    share: of green tokens.
  """
  green_BV = green(key, jnp.arange(vocab_size), vocab_size, share)
  green_BT = green_BV[tokens_BT[:, :-1], tokens_BT[:, 1:]]
  mask_BT = mask_BT[:, 1:].astype(jnp.float32)
  return jnp.sum(green_BT * mask_BT) / jnp.maximum(mask_BT.sum(), 1)


def p_value(
  tokens_BT: Array,
  mask_BT: Array,
  key: Key,
  vocab_size: int,
  share: float = 0.5,
) -> float:
  """How likely texts that know no key have as many green bigrams, in (0, 1].

  Each pair of tokens counts once, as all its repetitions are of one colour:
  then the green ones are binomial, whatever the text. With V tokens there are
  at most V^2 of them; for a small vocabulary see `rank_p_value`.

  Args:
    tokens_BT: what the suspected student wrote.
    mask_BT: which tokens count, as in `green_share`.
    key: the secret.
    vocab_size: V.
    share: of green tokens.
  """
  tokens_BT, mask_BT = np.asarray(tokens_BT), np.asarray(mask_BT, bool)
  pairs_N2 = np.stack([tokens_BT[:, :-1], tokens_BT[:, 1:]], axis=-1)
  pairs_N2 = np.unique(pairs_N2[mask_BT[:, 1:]], axis=0)
  table_VV = np.asarray(green(key, jnp.arange(vocab_size), vocab_size, share))
  hits = int(table_VV[pairs_N2[:, 0], pairs_N2[:, 1]].sum())
  if not hits:
    return 1.0
  return float(special.betainc(hits, len(pairs_N2) - hits + 1, share))


def rank_p_value(statistic: float, others_N: np.ndarray) -> float:
  """The same from the statistics of keys that were not used, in (0, 1].

  `(1 + those at least as large) / (1 + N)`: exact, as the secret is one of
  N + 1 keys that could have been.
  """
  others_N = np.asarray(others_N)
  return (1 + int(np.sum(others_N >= statistic))) / (1 + len(others_N))


def _check_share(share):
  if not 0 < share < 1:
    raise ValueError(f"share={share} is not in (0, 1)")
