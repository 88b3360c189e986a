"""The equation, written once, for reading and for testing the others."""

import jax
import jax.numpy as jnp

from simplex.kernels.backend import Backend


def forward(q, k1, v1, k2, v2, segments_BT, segments_BS, segments_BR, **static):
  num_groups = q.shape[2] // k1.shape[2]
  dtype = jnp.promote_types(q.dtype, jnp.float32)
  repeat = lambda x: jnp.repeat(x, num_groups, axis=2).astype(dtype)
  with jax.default_matmul_precision("highest"):
    logits_BHTSR = static["scale"] * LOGITS[static["form"]](
      q.astype(dtype), repeat(k1), repeat(k2)
    )
    seen_1 = visible(q, k1, segments_BT, segments_BS, static["spans"][0])
    seen_2 = visible(q, k2, segments_BT, segments_BR, static["spans"][1])
    seen_BHTSR = (seen_1[..., :, None] & seen_2[..., None, :])[:, None]
    logits_BHTSR = jnp.where(seen_BHTSR, logits_BHTSR, -jnp.inf)
    seen_BHT11 = seen_BHTSR.any((-1, -2), keepdims=True)
    lse_BHT11 = jax.nn.logsumexp(
      jnp.where(seen_BHT11, logits_BHTSR, 0), (-1, -2), keepdims=True
    )
    probs_BHTSR = jnp.where(seen_BHT11, jnp.exp(logits_BHTSR - lse_BHT11), 0)
    out_BTHD = jnp.einsum(
      "BHTSR,BSHD,BRHD->BTHD", probs_BHTSR, repeat(v1), repeat(v2)
    )
  lse_BHT = jnp.where(seen_BHT11, lse_BHT11, -jnp.inf)[..., 0, 0]
  return (out_BTHD.astype(v1.dtype), lse_BHT.swapaxes(1, 2)), None


def visible(q, k, segments_q, segments_k, span):
  """Which keys each query sees, `[B or 1, T, S]`, aligned at the end."""
  T, S = q.shape[1], k.shape[1]
  before, after = span
  age_TS = (S - T + jnp.arange(T))[:, None] - jnp.arange(S)
  visible_BTS = ((age_TS <= before) & (age_TS >= -after))[None]
  if segments_q is not None:
    visible_BTS &= segments_q[:, :, None] == segments_k[:, None]
  return visible_BTS


def _trilinear(q_BTHD, k1_BSHD, k2_BRHD):
  return jnp.einsum("BTHD,BSHD,BRHD->BHTSR", q_BTHD, k1_BSHD, k2_BRHD)


def _determinant(q_BTHD, k1_BSHD, k2_BRHD):
  D = q_BTHD.shape[-1]
  q, k1, k2 = (
    x[..., : D - D % 3].reshape(*x.shape[:-1], -1, 3)
    for x in (q_BTHD, k1_BSHD, k2_BRHD)
  )
  # Sarrus, equation 8.
  logits_BHTSR = 0
  for a, b, c in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    logits_BHTSR += _trilinear(q[..., a], k1[..., b], k2[..., c])
    logits_BHTSR -= _trilinear(q[..., a], k1[..., c], k2[..., b])
  rest = (x[..., D - D % 3 :] for x in (q_BTHD, k1_BSHD, k2_BRHD))
  return logits_BHTSR + _trilinear(*rest)


def _rotary(q_BTHD, k1_BSHD, k2_BRHD):
  half = q_BTHD.shape[-1] // 2
  q, k1, k2 = (
    x[..., :half] + 1j * x[..., half : 2 * half]
    for x in (q_BTHD, k1_BSHD, k2_BRHD)
  )
  rest = (x[..., 2 * half :] for x in (q_BTHD, k1_BSHD, k2_BRHD))
  return _trilinear(q, k1.conj(), k2.conj()).real + _trilinear(*rest)


def _strassen(q_BTHD, k1_BSHD, k2_BRHD):
  q_k1_BHTS = jnp.einsum("BTHD,BSHD->BHTS", q_BTHD, k1_BSHD)
  q_k2_BHTR = jnp.einsum("BTHD,BRHD->BHTR", q_BTHD, k2_BRHD)
  k1_k2_BHSR = jnp.einsum("BSHD,BRHD->BHSR", k1_BSHD, k2_BRHD)
  return (
    q_k1_BHTS[..., :, None]
    + q_k2_BHTR[..., None, :]
    + k1_k2_BHSR[:, :, None, :, :]
  )


LOGITS = {
  "trilinear": _trilinear,
  "determinant": _determinant,
  "rotary": _rotary,
  "strassen": _strassen,
}
BACKEND = Backend(forward, None, lambda *arrays, **static: None)
