"""The public signature of 2-simplicial attention; every backend obeys it."""

from collections.abc import Sequence

from simplex.kernels import backend, checks
from simplex.kernels.simplicial_attention import forms
from simplex.types import Array


def simplicial_attention(
  q_BTHD: Array,
  k1_BSGD: Array,
  v1_BSGD: Array,
  k2_BSGD: Array,
  v2_BSGD: Array,
  *,
  windows: Sequence[int | None] = (None, None),
  form: str = "trilinear",
  scale: float | None = None,
  causal: bool = True,
  segments_BS: Array | None = None,
  implementation: str | None = None,
) -> Array:
  """2-simplicial attention (Roy et al. 2025, https://arxiv.org/abs/2507.02754).

  One softmax over pairs of keys (equations 5 to 7):

    out_t = sum_{s,r} softmax_{s,r}(scale f(q_t, k1_s, k2_r)) v1_s * v2_r

  over the pairs (s, r) that t sees, with queries and keys aligned at the end:
  row i of q is position S - T + i. Head h reads key head `h // (H / G)`.
  Logits, softmax and sums are float32. A row that sees nothing gives zeros,
  and zero gradients.

  The form f is one of:

  - "trilinear": `sum_d q_d k1_d k2_d`.
  - "determinant": the sum over chunks of three channels of `det(q, k1, k2)`
    (section 5), signed; channels left over, d mod 3, are trilinear.
  - "rotary": with channels d and d + D/2 as one complex number,
    `Re sum_d q_d conj(k1_d) conj(k2_d)`; an odd last channel is trilinear. When
    k1 and k2 are turned by their positions (`layers.rotary`) and q by twice
    its own, logits depend on t - s and t - r alone.
  - "strassen": `q . k1 + q . k2 + k1 . k2` (Kozachinskiy et al. 2025,
    https://arxiv.org/abs/2501.19215).

  Args:
    q_BTHD: queries, 1 <= T <= S.
    k1_BSGD: first keys; G divides H.
    v1_BSGD: first values.
    k2_BSGD: second keys.
    v2_BSGD: second values.
    windows: (w1, w2), how many first and second keys a position sees, itself
      included, each at least 1; None is all. Without `causal` the window of
      position t goes from `t - w // 2` to `t + (w - 1) // 2`.
    form: a key of `forms.FORMS`.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    causal: a position sees itself and its past.
    segments_BS: integers; a position sees the keys of its own segment only.
    implementation: "reference", "xla", "gpu_triton" or "tpu_pallas"; None takes
      the best that runs on the default device.

  Returns:
    The mixed values, `[B, T, H, D]`, in the dtype of the inputs.

  Raises:
    ValueError: an argument is outside of what is described here.
    NotImplementedError: no implementation runs; the message says why.
  """
  out_BTHD, _ = simplicial_attention_with_lse(
    q_BTHD,
    k1_BSGD,
    v1_BSGD,
    k2_BSGD,
    v2_BSGD,
    windows=windows,
    form=form,
    scale=scale,
    causal=causal,
    segments_BS=segments_BS,
    implementation=implementation,
  )
  return out_BTHD


def simplicial_attention_with_lse(
  q_BTHD: Array,
  k1_BSGD: Array,
  v1_BSGD: Array,
  k2_BSGD: Array,
  v2_BSGD: Array,
  *,
  windows: Sequence[int | None] = (None, None),
  form: str = "trilinear",
  scale: float | None = None,
  causal: bool = True,
  segments_BS: Array | None = None,
  implementation: str | None = None,
) -> tuple[Array, Array]:
  """`simplicial_attention` and the log of its normaliser.

  Arguments and errors are those of `simplicial_attention`. Outputs over
  disjoint sets of pairs can be merged with their normalisers.

  Returns:
    The mixed values, `[B, T, H, D]`, and the natural log of the sum of the
    exponentials of the logits, `[B, T, H]`, float32; -inf for a row that sees
    nothing. Both have gradients.
  """
  B, T, H, D = q_BTHD.shape
  S, G = k1_BSGD.shape[1:3]
  keys = {"v1_BSGD": v1_BSGD, "k2_BSGD": k2_BSGD, "v2_BSGD": v2_BSGD}
  checks.check_shapes((B, S, G, D), k1_BSGD=k1_BSGD, **keys)
  checks.check_dtypes(q=q_BTHD, k1=k1_BSGD, v1=v1_BSGD, k2=k2_BSGD, v2=v2_BSGD)
  checks.check_sizes(T, S, H, G)
  checks.check_segments(segments_BS, B, S)
  forms.check(form)
  return attend(
    q_BTHD,
    k1_BSGD,
    v1_BSGD,
    k2_BSGD,
    v2_BSGD,
    None if segments_BS is None else segments_BS[:, S - T :],
    segments_BS,
    segments_BS,
    spans=_spans(windows, causal, T, S),
    form=form,
    scale=scale,
    implementation=implementation,
  )


def attend(*arrays, spans, form, scale, implementation):
  """The op on checked arguments, for axes S and R that may differ in length.

  Args:
    *arrays: q_BTHD, k1_BSGD, v1_BSGD, k2_BRGD, v2_BRGD, and segments of the
      three axes, all None or all given. The axes are aligned at their ends.
    spans: for each key axis `(before, after)`: how many keys before and after
      its own position a query sees.
    form: a key of `forms.FORMS`.
    scale: None is `1 / sqrt(D)`.
    implementation: None takes the best that runs.
  """
  D = arrays[0].shape[-1]
  return backend.call(
    __package__,
    implementation,
    *arrays,
    spans=spans,
    form=form,
    scale=float(D**-0.5 if scale is None else scale),
  )


def _spans(windows, causal, T, S):
  """Windows as keys before and after; never more than there can be."""
  if len(windows) != 2 or any(w is not None and w < 1 for w in windows):
    raise ValueError(f"{windows=} are not two of: None, or at least 1")

  def span(w):
    if causal:
      return (S - 1 if w is None else min(w, S) - 1, 0)
    if w is None:
      return (S - 1, T - 1)
    return (min(w // 2, S - 1), min((w - 1) // 2, T - 1))

  return tuple(span(w) for w in windows)
