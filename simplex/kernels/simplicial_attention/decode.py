"""2-simplicial attention a token or a chunk at a time, with a bounded cache.

A window of w keys is all that a later query can see, so the cache is two rings
of w1 and w2 keys and values, whatever the length of the text: token n is in
slot n mod w.

    cache = decode.init(batch_size, (32, 512), num_key_heads, width)
    out_BTHD, cache = decode.extend(cache, q, k1, v1, k2, v2)   # the prompts
    out_B1HD, cache = decode.extend(cache, q, k1, v1, k2, v2)   # a token
"""

from typing import NamedTuple

import jax.numpy as jnp

from simplex.kernels import checks
from simplex.kernels.simplicial_attention import api, forms
from simplex.types import Array


class Cache(NamedTuple):
  """The last w1 first keys and values and the last w2 second ones.

  Attributes:
    k1: `[B, w1, G, D]`, as are the values v1.
    v1: the first values.
    k2: `[B, w2, G, D]`, as are the values v2.
    v2: the second values.
    start: the first token of each text that can be seen, `[B]`.
    length: how many tokens have been seen, padding too, a scalar.
  """

  k1: Array
  v1: Array
  k2: Array
  v2: Array
  start: Array
  length: Array


def init(
  batch_size: int,
  windows: tuple[int, int],
  num_key_heads: int,
  width: int,
  dtype: str = "float32",
  padding_B: Array | None = None,
) -> Cache:
  """A cache that has seen nothing.

  Args:
    batch_size: B.
    windows: (w1, w2), each at least 1, in tokens.
    num_key_heads: G.
    width: D, of a head.
    dtype: of keys and values.
    padding_B: how many of the first tokens of each text are padding, for texts
      of different length; None is 0.

  Raises:
    ValueError: a window is not at least 1.
  """
  if len(windows) != 2 or min(windows) < 1:
    raise ValueError(f"{windows=} are not two of at least 1")
  ring = lambda w: jnp.zeros((batch_size, w, num_key_heads, width), dtype)
  padding_B = checks.padding(padding_B, batch_size)
  w1, w2 = windows
  rings = ring(w1), ring(w1), ring(w2), ring(w2)
  return Cache(*rings, padding_B, jnp.zeros((), jnp.int32))


def extend(
  cache: Cache,
  q_BTHD: Array,
  k1_BTGD: Array,
  v1_BTGD: Array,
  k2_BTGD: Array,
  v2_BTGD: Array,
  *,
  form: str = "trilinear",
  scale: float | None = None,
  implementation: str | None = None,
) -> tuple[Array, Cache]:
  """Attention of the next T tokens, causal, and the cache after them.

  The outputs of chunks, one after another, are those of
  `simplicial_attention` over the whole text with the windows of the cache.

  Args:
    cache: of the tokens before.
    q_BTHD: queries of the next tokens; G divides H.
    k1_BTGD: their first keys.
    v1_BTGD: their first values.
    k2_BTGD: their second keys.
    v2_BTGD: their second values.
    form: as in `simplicial_attention`, like the next.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    implementation: None takes the best that runs.

  Returns:
    The mixed values, `[B, T, H, D]`, 0 for padding, and the next cache.

  Raises:
    ValueError: a shape or a dtype is not that of the cache.
    NotImplementedError: no implementation runs; the message says why.
  """
  B, T, H, D = q_BTHD.shape
  G = cache.k1.shape[2]
  new = (k1_BTGD, v1_BTGD, k2_BTGD, v2_BTGD)
  names = ("k1_BTGD", "v1_BTGD", "k2_BTGD", "v2_BTGD")
  named = dict(zip(names, new, strict=True))
  ring = {"cache.k1": cache.k1}
  w1, w2 = cache.k1.shape[1], cache.k2.shape[1]
  checks.check_shapes((B, T, G, D), **named)
  checks.check_shapes((B, w1, G, D), **ring)
  checks.check_dtypes(q=q_BTHD, **named, **ring)
  checks.check_sizes(T, T, H, G)
  forms.check(form)
  pairs = list(zip(cache[:4], new, strict=True))
  keys = [_in_order(*pair, cache.length) for pair in pairs]
  out_BTHD, _ = api.attend(
    q_BTHD,
    *keys,
    jnp.where(_is_text(cache, 0, T), 1, -1),  # padding sees nothing
    *(_is_text(cache, w - 1, T).astype(jnp.int32) for w in (w1, w2)),
    spans=((w1 - 1, 0), (w2 - 1, 0)),
    form=form,
    scale=scale,
    implementation=implementation,
  )
  rings = (_write(*pair, cache.length) for pair in pairs)
  return out_BTHD, Cache(*rings, cache.start, cache.length + T)


def _in_order(ring_BwGD, new_BTGD, length):
  """The keys that the new tokens see, oldest first: w - 1 old and T new."""
  w = ring_BwGD.shape[1]
  old = jnp.take(ring_BwGD, (length + 1 + jnp.arange(w - 1)) % w, axis=1)
  return jnp.concatenate([old, new_BTGD], axis=1)


def _is_text(cache, before, T):
  """Whether the last tokens and the next T are there, and no padding."""
  at_S = cache.length - before + jnp.arange(before + T)
  return at_S >= cache.start[:, None]


def _write(ring_BwGD, new_BTGD, length):
  """The ring with the new tokens that fit into it."""
  w, T = ring_BwGD.shape[1], new_BTGD.shape[1]
  kept = min(w, T)
  slots = (length + T - kept + jnp.arange(kept)) % w
  # No slot is written twice: told so, the derivative of a write is a write.
  return ring_BwGD.at[:, slots].set(
    new_BTGD[:, T - kept :], unique_indices=True, mode="promise_in_bounds"
  )
