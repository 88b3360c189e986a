r"""Weights by hand with which one head of 2-simplicial attention solves Match3.

Match3 (Sanford et al. 2023, https://arxiv.org/abs/2306.02896): position i is
true when some j, k have x_i + x_j + x_k = 0 mod M. With theta = 2 pi x / M and
a sharpness c, each form can have the logit

  c cos(theta_i + theta_j + theta_k),

which is c at a match and at most c cos(2 pi / M) elsewhere. A blank key in
front of the sequence makes a pair with itself whose logit is c too, in a
channel of its own. Values are 1, the blank's 0, so the output is the weight of
the pairs without it. With a match that is at least 1/2; without, less than
n^2 exp(-c (1 - cos(2 pi / M))), which falls below 1/2 - where a threshold can
lie - only when c exceeds about ln(n^2) / (1 - cos(2 pi / M)).

The determinant form is Theorem 5.1 of Roy et al. (2025,
https://arxiv.org/abs/2507.02754): two determinants and the channel of the
blank, d = 7. The trilinear form needs four products of cosines and sines and
that channel, the rotary form one complex number and that channel. `cosine` is
the trilinear form in d = 4, without a blank.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from simplex.types import Array

THRESHOLD = 0.25  # between 0 and the 1/2 that a single match gives


class Head(NamedTuple):
  """Arguments of `kernels.simplicial_attention`, for one head, scale 1."""

  q: Array  # [B, T, 1, D]
  k1: Array  # [B, S, 1, D]
  v1: Array
  k2: Array
  v2: Array


def sharpness(length: int, modulus: int, leak: float = 1e-3) -> float:
  """The c at which pairs that do not match weigh at most `leak` together.

  c = ln(n^2 / leak) / (1 - cos(2 pi / M)).

  Args:
    length: n, at least 1.
    modulus: M, at least 2.
    leak: bound on n^2 exp(-c (1 - cos(2 pi / M))), in (0, 1).
  """
  gap = 1 - np.cos(2 * np.pi / modulus)
  return float(np.log(length**2 / leak) / gap)


def head(tokens_BT: Array, modulus: int, form: str, c: float) -> Head:
  """Queries, keys and values of the construction, a blank key in front.

  The output has all its channels equal; a position matches when it is above
  `THRESHOLD`.

  Args:
    tokens_BT: residues x, integers.
    modulus: M.
    form: a key of `FORMS`.
    c: sharpness.

  Raises:
    ValueError: there is no construction for the form.
  """
  if form not in FORMS:
    raise ValueError(f"{form=} is not one of {sorted(FORMS)}")
  cos_BT, sin_BT = _angles(tokens_BT, modulus)
  q, k1, k2 = FORMS[form](cos_BT, sin_BT, jnp.zeros_like(cos_BT))
  ones_BT = jnp.ones_like(cos_BT)
  q_BTHD = c * _stack((*q, ones_BT))
  k1_BSHD, k2_BSHD = (_with_blank(_stack((*k, 0 * ones_BT))) for k in (k1, k2))
  v_BTHD = jnp.ones_like(q_BTHD)
  v_BSHD = jnp.pad(v_BTHD, ((0, 0), (1, 0), (0, 0), (0, 0)))
  return Head(q_BTHD, k1_BSHD, v_BSHD, k2_BSHD, v_BSHD)


def cosine_head(tokens_BT: Array, modulus: int, c: float) -> Head:
  """The trilinear form in d = 4 without a blank: its values are its keys.

  The output, times the query at c = 1, is the mean of cos(theta_i + theta_j +
  theta_k) over the pairs that are attended: 1 at a match and at most
  cos(2 pi / M) without one; see `cosine_threshold`.
  """
  q, k1, k2 = _trilinear(*_angles(tokens_BT, modulus), None)
  k1_BTHD, k2_BTHD = _stack(k1), _stack(k2)
  return Head(c * _stack(q), k1_BTHD, k1_BTHD, k2_BTHD, k2_BTHD)


def cosine_threshold(modulus: int) -> float:
  """Half-way between a match and the nearest miss: (1 + cos(2 pi / M)) / 2."""
  return float((1 + np.cos(2 * np.pi / modulus)) / 2)


def _determinant(cos, sin, zero):
  q = (cos, sin, zero, -sin, cos, zero)
  k1 = (sin, cos, zero, -sin, -cos, zero)
  k2 = (zero, zero, cos, zero, zero, -sin)
  return q, k1, k2


def _trilinear(cos, sin, zero):
  del zero
  return (cos, cos, sin, sin), (cos, sin, cos, sin), (cos, -sin, -sin, -cos)


def _rotary(cos, sin, zero):
  """Re(e^{i theta_i} conj(e^{-i theta_j}) conj(e^{-i theta_k}))."""
  del zero
  return (cos, sin), (cos, -sin), (cos, -sin)


FORMS = {
  "trilinear": _trilinear,
  "determinant": _determinant,
  "rotary": _rotary,
}


def _angles(tokens_BT, modulus):
  theta_BT = 2 * np.pi / modulus * (tokens_BT % modulus)
  return jnp.cos(theta_BT), jnp.sin(theta_BT)


def _stack(channels) -> Array:
  """Channels `[B, T]` as one head, `[B, T, 1, D]`."""
  return jnp.stack(channels, axis=-1)[:, :, None, :]


def _with_blank(k_BTHD: Array) -> Array:
  """A key in front that has only the last channel."""
  k_BSHD = jnp.pad(k_BTHD, ((0, 0), (1, 0), (0, 0), (0, 0)))
  return k_BSHD.at[:, 0, :, -1].set(1)
