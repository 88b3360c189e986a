"""The equation, written once, for reading and for testing the others."""

import jax
import jax.numpy as jnp

from simplex.kernels.backend import Backend
from simplex.kernels.forgetting_attention import gates


def forward(q, k, v, log_f, segments_BS, *, scale, window, prune):
  del prune  # it changes the output by less than it promises
  B, T, H, _ = q.shape
  S, G = k.shape[1:3]
  dtype = jnp.promote_types(q.dtype, jnp.float32)
  repeat = lambda x: jnp.repeat(x, H // G, axis=2).astype(dtype)
  age_TS = (S - T + jnp.arange(T))[:, None] - jnp.arange(S)
  seen_BHTS = ((age_TS >= 0) & (age_TS < window))[None, None]
  if segments_BS is not None:
    here_BHT1 = segments_BS[:, None, S - T :, None]
    there_BH1S = segments_BS[:, None, None]
    seen_BHTS &= (here_BHT1 == there_BH1S) & (here_BHT1 >= 0)
    log_f = jnp.where(segments_BS[..., None] >= 0, log_f, 0)
  # What comes before the first key decays nothing.
  log_f_BHS = jnp.maximum(log_f, gates.LEAST).swapaxes(1, 2)
  high, low = gates.prefix_sums(log_f_BHS.astype(dtype))
  decay_BHTS = gates.decay(
    high[..., S - T :, None],
    low[..., S - T :, None],
    high[..., None, :],
    low[..., None, :],
  )
  with jax.default_matmul_precision("highest"):
    logits_BHTS = jnp.einsum("BTHD,BSHD->BHTS", q.astype(dtype), repeat(k))
    logits_BHTS = scale * logits_BHTS + jnp.where(seen_BHTS, decay_BHTS, 0)
    logits_BHTS = jnp.where(seen_BHTS, logits_BHTS, -jnp.inf)
    some_BHT1 = seen_BHTS.any(-1, keepdims=True)
    lse_BHT1 = jax.nn.logsumexp(
      jnp.where(some_BHT1, logits_BHTS, 0), -1, keepdims=True
    )
    probs_BHTS = jnp.where(some_BHT1, jnp.exp(logits_BHTS - lse_BHT1), 0)
    out_BTHD = jnp.einsum("BHTS,BSHD->BTHD", probs_BHTS, repeat(v))
  lse_BHT = jnp.where(some_BHT1, lse_BHT1, -jnp.inf)[..., 0]
  skipped_BH = jnp.zeros((B, H), jnp.float32)
  return (out_BTHD.astype(v.dtype), lse_BHT.swapaxes(1, 2), skipped_BH), None


BACKEND = Backend(forward, None, lambda *arrays, **static: None)
