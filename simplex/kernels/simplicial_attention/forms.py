"""What a query and its two keys multiply to: one product for every form.

Every form is `a . k2 + b`, where a row `a`, as wide as k2, and a number b come
from the query and the first key alone. So a backend needs one product of
matrices for its logits whatever the form, and its value is exact:

  times: a = sum_n left_n(q) * right_n(k1), b = 0
  plus:  a = q + k1,                        b = q . k1

with `left` and `right` rearrangements of channels with signs: nothing for the
trilinear form, two terms for a cross product and a complex product. They are
made once, outside of the kernels, and stand side by side in the last axis.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from simplex.types import Array


class Form(NamedTuple):
  """A form of the logits.

  Attributes:
    left: query to its terms, `[..., D] -> [..., N D]`, linear.
    right: first key to its terms, likewise.
    product: "times" or "plus", how the terms become a row.
    exchanged: `left` when the keys change places; None if it is the same.
  """

  left: Callable[[Array], Array]
  right: Callable[[Array], Array]
  product: str = "times"
  exchanged: Callable[[Array], Array] | None = None


def check(form: str) -> None:
  if form not in FORMS:
    raise ValueError(f"{form=} is not one of {sorted(FORMS)}")


def _cross(x: Array, *, left: bool, sign: int = 1) -> Array:
  """Terms of q x k1 = (q1 k2 - q2 k1, ...) for each chunk of three channels.

  Channels left over are the plain product: all in the first term, and without
  the sign, which exchanged keys give to a determinant but not to a product.
  """
  D = x.shape[-1]
  whole = D - D % 3
  chunks = x[..., :whole].reshape(*x.shape[:-1], whole // 3, 3)
  turn = lambda by: jnp.roll(chunks, -by, axis=-1)
  first, second = (turn(1), -turn(2)) if left else (turn(2), turn(1))
  rest = x[..., whole:]
  flat = lambda y: sign * y.reshape(*x.shape[:-1], whole)
  parts = (flat(first), rest, flat(second), jnp.zeros_like(rest))
  return jnp.concatenate(parts, axis=-1)


def _complex(x: Array, *, left: bool) -> Array:
  """Terms of q conj(k1) for channels i and i + D/2 as one complex number."""
  half = x.shape[-1] // 2
  re, im, rest = jnp.split(x, (half, 2 * half), axis=-1)
  none = jnp.zeros_like(rest)
  if left:
    parts = (re, im, rest, im, -re, none)
  else:
    parts = (re, re, rest, im, im, none)
  return jnp.concatenate(parts, axis=-1)


def _same(x: Array) -> Array:
  return x


FORMS = {
  "trilinear": Form(_same, _same),
  "determinant": Form(
    lambda q: _cross(q, left=True),
    lambda k: _cross(k, left=False),
    exchanged=lambda q: _cross(q, left=True, sign=-1),
  ),
  "rotary": Form(
    lambda q: _complex(q, left=True), lambda k: _complex(k, left=False)
  ),
  "strassen": Form(_same, _same, product="plus"),
}
