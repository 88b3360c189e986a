"""What the fast backends share: one product of terms, the short window first.

A backend made by `make` is given `forward` and `backward` of a smaller op:

  forward(q_BTHC, k1_BSGC, v1_BSGD, k2_BRGD, v2_BRGD, *segments,
          product, scale, spans) -> out_BTHD, lse_BTH, both float32
  backward(q_BTHC, k1_BSGC, v1_BSGD, k2_BRGD, v2_BRGD, *segments,
           lse_BTH, delta_BTH, d_out_BTHD,
           product, scale, spans) -> gradients of the first five

in which C is N D, the terms of `forms`; the first window is not longer than the
second; `segments` is BT, BS, BR, or three times None. Rows that see nothing
have an lse of -inf out of `forward` and of 0 into `backward`.

The gradient of the logits is `P (dP - delta)`, with P = exp(logits - lse) over
the visible pairs and dP = (d_out * v1) . v2. That difference is why the output
is float32 until here: where one pair has all the weight, nothing but rounding
would be left of it. Gradients may be float32 too; they are cast here.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from simplex.kernels.backend import Backend
from simplex.kernels.simplicial_attention import forms


def make(
  forward: Callable,
  backward: Callable,
  unsupported: Callable,
  *,
  partitionable: bool = False,
) -> Backend:
  """A backend of the whole op from one of the smaller op above."""

  def whole_forward(*arrays, form, scale, spans):
    form = _form(form, spans)
    arrays = _first_axis_short(arrays, spans)
    static = _settings(form, scale, spans)
    out_BTHD, lse_BTH = forward(*_terms(form, arrays), **static)
    residuals = arrays, out_BTHD, lse_BTH
    return (out_BTHD.astype(arrays[0].dtype), lse_BTH), residuals

  def whole_backward(residuals, d_outs, *, form, scale, spans):
    form = _form(form, spans)
    arrays, out_BTHD, lse_BTH = residuals
    d_out_BTHD, d_lse_BTH = d_outs
    # The gradient of lse with respect to the logits is P.
    delta_BTH = (out_BTHD * d_out_BTHD).sum(-1) - d_lse_BTH
    d_q, d_k1, *d_rest = backward(
      *_terms(form, arrays),
      jnp.where(lse_BTH == -jnp.inf, 0, lse_BTH),
      delta_BTH,
      d_out_BTHD,
      **_settings(form, scale, spans),
    )
    d_q = _transpose(form.left, arrays[0], d_q)
    d_k1 = _transpose(form.right, arrays[1], d_k1)
    d_arrays = (x.astype(arrays[0].dtype) for x in (d_q, d_k1, *d_rest))
    return (*_first_axis_short(tuple(d_arrays), spans), None, None, None)

  return Backend(whole_forward, whole_backward, unsupported, partitionable)


def _swaps(spans):
  return sum(spans[0]) > sum(spans[1])


def _first_axis_short(arrays, spans):
  """Exchanges the two key axes if the first window is the longer one."""
  if not _swaps(spans):
    return arrays
  q, k1, v1, k2, v2, *segments = arrays
  if segments:
    segments = (segments[0], segments[2], segments[1])
  return (q, k2, v2, k1, v1, *segments)


def _settings(form, scale, spans):
  spans = spans[::-1] if _swaps(spans) else spans
  return {"product": form.product, "scale": scale, "spans": spans}


def _form(name, spans):
  form = forms.FORMS[name]
  if _swaps(spans) and form.swapped:
    return form._replace(left=form.swapped)
  return form


def _terms(form, arrays):
  q, k1, *rest = arrays
  return (form.left(q), form.right(k1), *rest)


def _transpose(linear, x, d_terms):
  """The gradient of x from that of its terms, in float32."""
  shape = jax.ShapeDtypeStruct(x.shape, jnp.float32)
  (d_x,) = jax.linear_transpose(linear, shape)(d_terms.astype(jnp.float32))
  return d_x
