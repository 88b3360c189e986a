"""The public signature of forgetting attention; every backend obeys it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.kernels import backend, checks
from simplex.kernels.forgetting_attention import pruning
from simplex.types import Array


class Forgetting(NamedTuple):
  """Forgetting attention and what is known of it.

  Attributes:
    out_BTHD: the mixed values, in the dtype of the inputs.
    lse_BTH: natural log of the sum of the exponentials of the logits, float32;
      -inf for a row that sees nothing. It has a gradient.
    skipped_BH: which fraction of the blocks of keys within the causal mask and
      the window was left out, in [0, 1], float32. It depends on the sizes of
      the blocks, and so on the implementation.
  """

  out_BTHD: Array
  lse_BTH: Array
  skipped_BH: Array


def forgetting_attention(
  q_BTHD: Array,
  k_BSGD: Array,
  v_BSGD: Array,
  log_f_BSH: Array,
  *,
  scale: float | None = None,
  window: int | None = None,
  segments_BS: Array | None = None,
  prune: float | str | None = None,
  implementation: str | None = None,
) -> Array:
  """Attention with a forget gate (Lin et al. 2025).

  https://arxiv.org/abs/2503.02130, equations 5 to 8:

    out_t = sum_s softmax_s(scale q_t . k_s + log f_{s+1} + ... + log f_t) v_s

  over the keys s <= t that t sees, with queries and keys aligned at the end:
  row i of q is position S - T + i. Head h reads key head `h // (H / G)`. The
  logits, decays and softmax are float32; decays are exact at any length. Gates
  of 1 give causal softmax attention, one constant gate gives ALiBi (Press et
  al. 2022), gates of 0 give the newest value. The gate of the first key that is
  seen has no effect, and a gradient of exactly 0.

  Args:
    q_BTHD: queries, 1 <= T <= S.
    k_BSGD: keys; G divides H.
    v_BSGD: values.
    log_f_BSH: logs of the forget gates of all S positions and of each query
      head, at most 0, float32.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    window: number of keys a position sees, itself included; None is all.
    segments_BS: integers; a position sees the keys of its own segment only. A
      negative one marks padding, which sees nothing and which nothing sees; a
      row that sees nothing gives zeros, and zero gradients.
    prune: leaves out blocks of keys that are forgotten; a row loses at most
      e^-10 of its weight (https://arxiv.org/abs/2504.06949). "paper" bounds the
      logits of a head by its longest query and key; "online" compares with what
      a row has seen so far, and leaves out more; a number below 0 leaves out
      what has decayed below it. The gradient leaves out the same. The
      implementation "reference" leaves out nothing.
    implementation: "reference", "xla", "gpu_triton" or "tpu_pallas"; None takes
      the best that runs on the default device.

  Returns:
    The mixed values, `[B, T, H, D]`, in the dtype of the inputs.

  Raises:
    ValueError: an argument is outside of what is described here. Values of
      arrays are looked at where they are known, outside of `jit`: gates that
      are NaN or above 1, and a threshold that would lose more.
    NotImplementedError: no implementation runs; the message says why.
  """
  return forgetting_attention_with_statistics(
    q_BTHD,
    k_BSGD,
    v_BSGD,
    log_f_BSH,
    scale=scale,
    window=window,
    segments_BS=segments_BS,
    prune=prune,
    implementation=implementation,
  ).out_BTHD


def forgetting_attention_with_statistics(
  q_BTHD: Array,
  k_BSGD: Array,
  v_BSGD: Array,
  log_f_BSH: Array,
  *,
  scale: float | None = None,
  window: int | None = None,
  segments_BS: Array | None = None,
  prune: float | str | None = None,
  implementation: str | None = None,
) -> Forgetting:
  """`forgetting_attention`, its normaliser and the fraction left out.

  Arguments and errors are those of `forgetting_attention`. Outputs over
  disjoint sets of keys can be merged with their normalisers.
  """
  B, T, H, D = q_BTHD.shape
  S, G = k_BSGD.shape[1:3]
  checks.check_shapes((B, S, G, D), k_BSGD=k_BSGD, v_BSGD=v_BSGD)
  checks.check_dtypes(q=q_BTHD, k=k_BSGD, v=v_BSGD)
  checks.check_sizes(T, S, H, G)
  checks.check_shapes((B, S, H), log_f_BSH=log_f_BSH)
  checks.check_segments(segments_BS, B, S)
  if log_f_BSH.dtype != jnp.float32:
    raise ValueError(f"{log_f_BSH.dtype=} is not float32, as gates must be")
  if window is not None and window < 1:
    raise ValueError(f"{window=} is not None or at least 1")
  scale = float(D**-0.5 if scale is None else scale)
  _check_gates(log_f_BSH, segments_BS)
  _check_prune(prune, q_BTHD, k_BSGD, scale)
  return Forgetting(
    *backend.call(
      __package__,
      implementation,
      q_BTHD,
      k_BSGD,
      v_BSGD,
      log_f_BSH,
      segments_BS,
      scale=scale,
      window=S if window is None else min(int(window), S),
      prune=prune if prune in (None, *pruning.RULES) else float(prune),
    )
  )


def _check_gates(log_f_BSH, segments_BS):
  """Padding may hold anything."""
  if _is_traced(log_f_BSH, segments_BS):
    return
  log_f_BSH = np.asarray(log_f_BSH)
  wrong_BSH = ~(log_f_BSH <= 0)
  if segments_BS is not None:
    wrong_BSH &= np.asarray(segments_BS)[..., None] >= 0
  if wrong_BSH.any():
    b, s, h = np.argwhere(wrong_BSH)[0].tolist()
    raise ValueError(
      f"log_f_BSH[{b}, {s}, {h}]={log_f_BSH[b, s, h]} is not at most 0: give "
      "the log of a gate in [0, 1], such as jax.nn.log_sigmoid(x)"
    )


def _check_prune(prune, q_BTHD, k_BSGD, scale):
  if prune is None or prune in pruning.RULES:
    return
  if isinstance(prune, str) or not prune < 0:
    raise ValueError(
      f"{prune=} is not None, one of {pruning.RULES} or a number below 0"
    )
  if _is_traced(q_BTHD, k_BSGD):
    return
  bound_BH = pruning.bound(q_BTHD, k_BSGD, scale)
  safe = float(pruning.largest_threshold(bound_BH, k_BSGD.shape[1]).min())
  if prune > safe:
    raise ValueError(
      f"{prune=} may lose more than e^{pruning.LOG_EPSILON} of a row's weight: "
      f"with these queries and keys at most {safe:.2f} is safe"
    )


def _is_traced(*arrays):
  return any(isinstance(x, jax.core.Tracer) for x in arrays)
