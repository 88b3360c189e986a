"""The equation, written once, for reading and for testing the others."""

import jax
import jax.numpy as jnp

from simplex.kernels.backend import Backend


def forward(q_BTHD, k_BSGD, v_BSGD, segments_BS, *, scale, causal, window):
  num_groups = q_BTHD.shape[2] // k_BSGD.shape[2]
  dtype = jnp.promote_types(q_BTHD.dtype, jnp.float32)
  k_BSHD = jnp.repeat(k_BSGD, num_groups, axis=2).astype(dtype)
  v_BSHD = jnp.repeat(v_BSGD, num_groups, axis=2).astype(dtype)
  q_BTHD = scale * q_BTHD.astype(dtype)
  logits_BHTS = jnp.einsum("BTHD,BSHD->BHTS", q_BTHD, k_BSHD)
  T, S = logits_BHTS.shape[2:]
  visible_BHTS = visible(T, S, segments_BS, causal, window)
  probs_BHTS = jax.nn.softmax(logits_BHTS, where=visible_BHTS, axis=-1)
  probs_BHTS = jnp.where(visible_BHTS, probs_BHTS, 0)
  out_BTHD = jnp.einsum("BHTS,BSHD->BTHD", probs_BHTS, v_BSHD)
  return out_BTHD.astype(v_BSGD.dtype), None


def visible(T, S, segments_BS, causal, window):
  """Which keys each query sees, `[B or 1, 1, T, S]`, aligned at the end."""
  age_TS = (S - T + jnp.arange(T))[:, None] - jnp.arange(S)
  visible_BHTS = jnp.ones((1, 1, T, S), bool)
  if causal:
    visible_BHTS &= age_TS >= 0
  if window is not None:
    visible_BHTS &= age_TS < window
  if segments_BS is not None:
    same_BTS = segments_BS[:, S - T :, None] == segments_BS[:, None]
    visible_BHTS &= same_BTS[:, None]
  return visible_BHTS


BACKEND = Backend(forward, None, lambda *arrays, **static: None)
