"""The public signature of softmax attention; every backend obeys it."""

from simplex.kernels import backend, checks
from simplex.types import Array


def dot_product_attention(
  q_BTHD: Array,
  k_BSGD: Array,
  v_BSGD: Array,
  *,
  scale: float | None = None,
  causal: bool = True,
  window: int | None = None,
  segments_BS: Array | None = None,
  implementation: str | None = None,
) -> Array:
  """Softmax attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762).

  `out_t = sum_s softmax_s(scale q_t . k_s) v_s` over the keys s that t sees,
  with queries and keys aligned at the end: row i of q is position S - T + i.
  Head h reads key head `h // (H / G)`. The softmax runs in float32. A row that
  sees nothing gives zeros.

  Args:
    q_BTHD: queries, 1 <= T <= S.
    k_BSGD: keys; G divides H.
    v_BSGD: values.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    causal: a position sees itself and its past; otherwise all positions.
    window: number of keys a position sees, itself included; None is all.
    segments_BS: integers; a position sees the keys of its own segment only.
    implementation: "reference", "xla" or "jax_nn"; None takes the best that
      runs on the default device.

  Returns:
    The mixed values, `[B, T, H, D]`, in the dtype of the inputs.

  Raises:
    ValueError: an argument is outside of what is described here.
    NotImplementedError: no implementation runs; the message says why.
  """
  B, T, H, D = q_BTHD.shape
  S, G = k_BSGD.shape[1:3]
  checks.check_shapes((B, S, G, D), k_BSGD=k_BSGD, v_BSGD=v_BSGD)
  checks.check_dtypes(q=q_BTHD, k=k_BSGD, v=v_BSGD)
  checks.check_sizes(T, S, H, G)
  checks.check_segments(segments_BS, B, S)
  _check_window(window, causal)
  return backend.call(
    __package__,
    implementation,
    q_BTHD,
    k_BSGD,
    v_BSGD,
    segments_BS,
    scale=float(D**-0.5 if scale is None else scale),
    causal=bool(causal),
    # A window of all keys is no window: let the backends see that.
    window=None if window is None or window >= S else int(window),
  )


def _check_window(window, causal):
  if window is None:
    return
  if not causal:
    raise ValueError(f"{window=} needs causal=True, got {causal=}")
  if window < 1:
    raise ValueError(f"{window=} is not None or at least 1")
