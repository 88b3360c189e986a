"""Any device: blocks of queries, each against only the keys it can see.

At most `MAX_SPANS` spans of queries and a remainder are unrolled, so that keys
no row of a span can see are skipped and the program stays small; a long span
loops over its blocks. The backward pass computes the weights again, so memory
is linear in T, except on a CPU while every span is one block: there, keeping
them is faster.
"""

import functools

import jax
import jax.numpy as jnp

from simplex.kernels import backend

BLOCK = 128
MAX_SPANS = 8


def forward(q_BTHD, k_BSGD, v_BSGD, segments_BS, *, scale, causal, window):
  B, T, H, D = q_BTHD.shape
  S, G = k_BSGD.shape[1:3]
  # Contiguous rows per head make the products plain batched matrix products.
  q_BGrTD = (q_BTHD * scale).reshape(B, T, G, H // G, D)
  q_BGrTD = q_BGrTD.transpose(0, 2, 3, 1, 4)
  k_BGSD, v_BGSD = (x.transpose(0, 2, 1, 3) for x in (k_BSGD, v_BSGD))
  attend = functools.partial(_attend, causal, window)
  if T > BLOCK * MAX_SPANS or backend.platform() != "cpu":
    attend = jax.checkpoint(attend)

  def block(start, rows, low, keys):
    """Output of `rows` queries from `start` over `keys` keys from `low`."""
    cut = jax.lax.dynamic_slice_in_dim
    first = S - T + start
    segments = None
    if segments_BS is not None:
      segments = [cut(segments_BS, first, rows, 1)]
      segments += [cut(segments_BS, low, keys, 1)]
    return attend(
      cut(q_BGrTD, start, rows, 3),
      cut(k_BGSD, low, keys, 2),
      cut(v_BGSD, low, keys, 2),
      first - low,
      segments,
    )

  def span(start, rows):
    first = S - T + start
    low = 0 if window is None else max(0, first - window + 1)
    high = first + rows if causal else S
    if rows <= BLOCK:
      return block(start, rows, low, high - low)
    keys = high - low
    if window is not None:
      keys = min(keys, BLOCK + window - 1)

    def one(start):
      lowest = 0 if window is None else S - T + start - window + 1
      return block(start, BLOCK, jnp.clip(lowest, low, high - keys), keys)

    out_nBGrbD = jax.lax.map(one, jnp.arange(start, start + rows, BLOCK))
    return jnp.moveaxis(out_nBGrbD, 0, 3).reshape(B, G, H // G, rows, D)

  out_BGrTD = jnp.concatenate([span(*x) for x in _spans(T)], axis=3)
  return out_BGrTD.transpose(0, 3, 1, 2, 4).reshape(B, T, H, D), None


def _spans(T):
  """`(start, rows)` of spans of whole blocks, then of what is left."""
  blocks = T // BLOCK
  rows = BLOCK * -(-blocks // MAX_SPANS)
  whole = BLOCK * blocks
  spans = [(t, min(rows, whole - t)) for t in range(0, whole, rows or 1)]
  return spans + [(whole, T - whole)] * (whole < T)


def _attend(causal, window, q_BGrbD, k_BGcD, v_BGcD, first, segments):
  """Attention of b rows on c keys, of which row 0 is number `first`."""
  logits_BGrbc = jnp.einsum(
    "BGrbD,BGcD->BGrbc", q_BGrbD, k_BGcD, preferred_element_type=jnp.float32
  )
  b, c = logits_BGrbc.shape[-2:]
  age_bc = (first + jnp.arange(b))[:, None] - jnp.arange(c)
  visible = None
  if causal:
    visible = age_bc >= 0
  if window is not None:
    visible &= age_bc < window
  if segments is not None:
    rows_Bb, keys_Bc = segments
    same = (rows_Bb[:, :, None] == keys_Bc[:, None])[:, None, None]
    visible = same if visible is None else visible & same
  if visible is not None:
    logits_BGrbc = jnp.where(visible, logits_BGrbc, -jnp.inf)
  # Every row sees itself, so its maximum is finite.
  top_BGrb1 = jax.lax.stop_gradient(logits_BGrbc.max(axis=-1, keepdims=True))
  weights_BGrbc = jnp.exp(logits_BGrbc - top_BGrb1)
  total_BGrb1 = weights_BGrbc.sum(axis=-1, keepdims=True)
  out_BGrbD = jnp.einsum(
    "BGrbc,BGcD->BGrbD",
    weights_BGrbc.astype(v_BGcD.dtype),
    v_BGcD,
    preferred_element_type=jnp.float32,
  )
  # Dividing the output touches D numbers a row, dividing the weights c.
  return (out_BGrbD / total_BGrb1).astype(v_BGcD.dtype)


BACKEND = backend.Backend(forward, None, lambda *arrays, **static: None)
