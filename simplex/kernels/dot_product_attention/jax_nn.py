"""GPU and TPU: `jax.nn.dot_product_attention`; on GPU the one of cuDNN."""

import jax
import jax.numpy as jnp

from simplex.kernels import backend
from simplex.kernels.dot_product_attention import reference

MAX_LOGITS = 2**29


def forward(q_BTHD, k_BSGD, v_BSGD, segments_BS, *, scale, causal, window):
  T, S = q_BTHD.shape[1], k_BSGD.shape[1]
  mask_B1TS = None
  # JAX aligns queries and keys at the start, so T < S needs a mask.
  if segments_BS is not None or (T != S and causal):
    mask_B1TS = reference.visible(T, S, segments_BS, causal, window)
    causal, window = False, None
  out_BTHD = jax.nn.dot_product_attention(
    q_BTHD,
    k_BSGD,
    v_BSGD,
    mask=mask_B1TS,
    scale=scale,
    is_causal=causal,
    # JAX counts the keys to the left of a query, without itself.
    local_window_size=None if window is None else (window - 1, 0),
    implementation="cudnn" if backend.platform() == "gpu" else "xla",
  )
  return out_BTHD, None


def unsupported(q_BTHD, k_BSGD, v_BSGD, segments_BS, *, scale, causal, window):
  del v_BSGD, segments_BS, scale, causal, window
  B, T, H, D = q_BTHD.shape
  if backend.platform() == "gpu":
    if q_BTHD.dtype == jnp.float32:
      return "cuDNN needs bfloat16 or float16, got float32"
    if D % 8 or D > 128:
      return f"cuDNN needs D to be a multiple of 8 up to 128, got {D=}"
    return None
  num_logits = B * H * T * k_BSGD.shape[1]
  if num_logits > MAX_LOGITS:
    return f"holds all logits at once; {num_logits=} is over {MAX_LOGITS}"
  return None


BACKEND = backend.Backend(forward, None, unsupported)
