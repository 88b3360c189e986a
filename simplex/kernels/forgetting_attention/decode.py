"""Forgetting attention a token or a chunk at a time, with a bounded cache.

The cache is a ring of S slots, token n in slot n mod S, so it is a window of S
keys: of all of them, while the text is no longer. It holds the prefix sums of
the log gates, so that a token costs one addition for each head, at any length.

    cache = decode.init(batch_size, 4096, num_heads, num_key_heads, width)
    out_BTHD, cache = decode.extend(cache, q, k, v, log_f)   # the prompts
    out_B1HD, cache = decode.extend(cache, q, k, v, log_f)   # a token

What all heads have forgotten can be evicted, between steps:

    needed = int(decode.live(cache, bound_H, max_length=65_536).max())
    cache = decode.resize(cache, needed + 256)   # good for 256 tokens more
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.kernels import checks
from simplex.kernels.forgetting_attention import gates, pruning
from simplex.types import Array


class Cache(NamedTuple):
  """The newest S keys and values, and how far each head has decayed.

  Attributes:
    k: `[B, G, S, D]`, as the products read them; so are the values.
    v: the values.
    high: prefix sums of the log gates, `[B, H, S]`, float32; see `gates`.
    low: what is to be added to them.
    start: the first token of each text that can be seen, `[B]`.
    length: how many tokens have been seen, padding too, a scalar.
  """

  k: Array
  v: Array
  high: Array
  low: Array
  start: Array
  length: Array


def init(
  batch_size: int,
  slots: int,
  num_heads: int,
  num_key_heads: int,
  width: int,
  *,
  dtype: str = "float32",
  padding_B: Array | None = None,
) -> Cache:
  """A cache that has seen nothing.

  Args:
    batch_size: B.
    slots: S, at least 1.
    num_heads: H, one gate each.
    num_key_heads: G.
    width: D, of a head.
    dtype: of keys and values.
    padding_B: how many of the first tokens of each text are padding, for texts
      of different length; None is 0.

  Raises:
    ValueError: there is no slot.
  """
  if slots < 1:
    raise ValueError(f"{slots=} is not at least 1")
  keys = lambda: jnp.zeros((batch_size, num_key_heads, slots, width), dtype)
  sums = lambda: jnp.zeros((batch_size, num_heads, slots), jnp.float32)
  padding_B = checks.padding(padding_B, batch_size)
  length = jnp.zeros((), jnp.int32)
  return Cache(keys(), keys(), sums(), sums(), padding_B, length)


def segments(cache: Cache, T: int) -> Array:
  """The segments of the next T tokens: -1 is padding, 0 is not, `[B, T]`."""
  ahead_T = cache.length + jnp.arange(T)
  return jnp.where(ahead_T < cache.start[:, None], -1, 0)


def extend(
  cache: Cache,
  q_BTHD: Array,
  k_BTGD: Array,
  v_BTGD: Array,
  log_f_BTH: Array,
  *,
  scale: float | None = None,
) -> tuple[Array, Cache]:
  """Attention of the next T tokens, and the cache after them.

  The outputs of chunks, one after another, are those of `forgetting_attention`
  over the whole text with a window of S. The logits of all heads, T (S + T) in
  float32, are in memory at once: choose the chunks of a long prompt by that.

  Args:
    cache: of the tokens before.
    q_BTHD: queries of the next tokens.
    k_BTGD: their keys.
    v_BTGD: their values.
    log_f_BTH: logs of their gates, at most 0, float32.
    scale: factor of the logits; None is `1 / sqrt(D)`.

  Returns:
    The mixed values, `[B, T, H, D]`, 0 for padding, and the next cache.

  Raises:
    ValueError: a shape or a dtype is not that of the cache.
  """
  B, T, H, D = q_BTHD.shape
  G, S = cache.k.shape[1:3]
  ring = {"cache.k": cache.k}
  checks.check_shapes((B, T, G, D), k_BTGD=k_BTGD, v_BTGD=v_BTGD)
  checks.check_shapes((B, G, S, D), **ring)
  checks.check_shapes((B, H, S), **{"cache.high": cache.high})
  checks.check_shapes((B, T, H), log_f_BTH=log_f_BTH)
  checks.check_dtypes(q=q_BTHD, k=k_BTGD, v=v_BTGD, **ring)
  checks.check_sizes(T, T, H, G)
  high_BHT, low_BHT = _sums(cache, log_f_BTH)
  at_T = cache.length + jnp.arange(T)
  scale = D**-0.5 if scale is None else scale
  queries = (
    q_BTHD.reshape(B, T, G, H // G, D),
    high_BHT,
    low_BHT,
    at_T,
  )
  new = (*(x.swapaxes(1, 2) for x in (k_BTGD, v_BTGD)), high_BHT, low_BHT)
  after = _write(cache, new)
  # A token sees the ring with itself in it: read once it is written, XLA writes
  # it in place. A longer chunk also sees what it overwrites.
  parts = [(*after[:4], _held(after))]
  if T > 1:
    parts = [(*cache[:4], _held(cache)), (*new, at_T)]
  logits = [
    _logits(cache, scale, queries, (k, high, low, at))
    for k, _, high, low, at in parts
  ]
  probs = _softmax(jnp.concatenate(logits, axis=-1))
  probs = jnp.split(probs, [S] * (len(parts) - 1), axis=-1)
  out_BTGhD = sum(
    _values(p, part[1]) for p, part in zip(probs, parts, strict=True)
  )
  return out_BTGhD.reshape(q_BTHD.shape).astype(q_BTHD.dtype), after


def live(cache: Cache, bound_BH: Array, *, max_length: int) -> Array:
  """How many of the newest keys each head can still see, `[B, H]`.

  The others have decayed so far that to leave them out, now and later, costs no
  row more than e^-10 of its weight (https://arxiv.org/abs/2504.06949); see
  `pruning`.

  Args:
    cache: of the tokens so far.
    bound_BH: U; no logit is larger, nor will be, in absolute value. It
      broadcasts: a number, or one for each head.
    max_length: tokens that the text will have, at most.
  """
  threshold_BH = pruning.largest_threshold(bound_BH, max_length)
  newest = (cache.length - 1) % cache.k.shape[2]
  decay_BHS = gates.decay(
    cache.high[..., newest, None],
    cache.low[..., newest, None],
    cache.high,
    cache.low,
  )
  held_S = _held(cache)
  live_BHS = decay_BHS >= jnp.asarray(threshold_BH)[..., None]
  live_BHS &= (held_S >= cache.start[:, None])[:, None]
  return jnp.where(live_BHS, cache.length - held_S, 0).max(-1)


def resize(cache: Cache, slots: int) -> Cache:
  """The same cache with another number of slots; fewer evict the oldest keys.

  Raises:
    ValueError: there is no slot.
  """
  if slots < 1:
    raise ValueError(f"{slots=} is not at least 1")
  S = cache.k.shape[2]
  kept = min(S, slots)
  moved = cache.length - 1 - jnp.arange(kept)

  def move(ring):
    """Its slots, which are its axis 2, filled as those of the other were."""
    shape = (*ring.shape[:2], slots, *ring.shape[3:])
    new = jnp.zeros(shape, ring.dtype)
    return new.at[:, :, moved % slots].set(ring[:, :, moved % S])

  return cache._replace(
    k=move(cache.k),
    v=move(cache.v),
    high=move(cache.high),
    low=move(cache.low),
    # Of tokens that are gone, a slot added later knows nothing.
    start=jnp.maximum(cache.start, cache.length - kept),
  )


def _write(cache, new):
  """The cache with those of the new keys, values and sums that fit into it."""
  S, T = cache.k.shape[2], new[0].shape[2]
  kept = min(S, T)
  slots = (cache.length + jnp.arange(T - kept, T)) % S

  def write(ring, x):
    # No slot is written twice: told so, the derivative of a write is a write.
    return ring.at[:, :, slots].set(
      x[:, :, T - kept :], unique_indices=True, mode="promise_in_bounds"
    )

  return Cache(
    *map(write, cache[:4], new), cache.start, length=cache.length + T
  )


def _sums(cache, log_f_BTH):
  """The prefix sums of the log gates go on where the cache ends."""
  real_BT = segments(cache, log_f_BTH.shape[1]) >= 0
  log_f_BTH = jnp.where(real_BT[..., None], log_f_BTH, 0)
  log_f_BHT = jnp.maximum(log_f_BTH, gates.LEAST).swapaxes(1, 2)
  newest = (cache.length - 1) % cache.k.shape[2]
  so_far = cache.high[..., newest, None], cache.low[..., newest, None]
  return gates.add(gates.prefix_sums(log_f_BHT), so_far)


def _held(cache):
  """Which token is in each slot; below 0, none is yet."""
  S = cache.k.shape[2]
  newest = cache.length - 1
  return newest - (newest - jnp.arange(S)) % S


def _logits(cache, scale, queries, keys):
  """Logits and decays, -inf for what is not seen."""
  q_BTGhD, high_BHT, low_BHT, at_T = queries
  k_BGSD, high_BHS, low_BHS, at_S = keys
  logits_BGhTS = _product("BTGhD,BGSD->BGhTS", q_BTGhD, k_BGSD)
  decay_BHTS = gates.decay(
    high_BHT[..., None],
    low_BHT[..., None],
    high_BHS[..., None, :],
    low_BHS[..., None, :],
  )
  age_TS = at_T[:, None] - at_S
  seen_BTS = (age_TS >= 0) & (age_TS < cache.k.shape[2])
  seen_BTS &= (at_S >= cache.start[:, None])[:, None]
  logits_BGhTS = scale * logits_BGhTS + decay_BHTS.reshape(logits_BGhTS.shape)
  return jnp.where(seen_BTS[:, None, None], logits_BGhTS, -jnp.inf)


def _softmax(logits):
  """0 everywhere in a row that sees nothing."""
  largest = jnp.maximum(logits.max(-1, keepdims=True), -1e30)
  weights = jnp.exp(logits - jax.lax.stop_gradient(largest))
  total = weights.sum(-1, keepdims=True)
  return weights / jnp.where(total > 0, total, 1)


def _values(probs_BGhTS, v_BGSD):
  return _product("BGhTS,BGSD->BTGhD", probs_BGhTS.astype(v_BGSD.dtype), v_BGSD)


def _product(axes, x, y):
  """In float32, which is asked of the inputs: XLA:CPU lacks mixed products."""
  x, y = x.astype(jnp.float32), y.astype(jnp.float32)
  return jnp.einsum(axes, x, y, precision="highest")
