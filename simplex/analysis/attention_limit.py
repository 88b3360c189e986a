"""Random attention layers: at infinite width, and exactly at any width.

A layer of H heads reads tokens x_1..x_s of width n. Its weights are independent
normals: queries, keys and values of variance 1 / n, outputs of 1 / D with D the
head width. Scores are q k / sqrt(D), and

  y_t = H^{-1/2} sum_a phi(scores^a)_t V^a W_O^a.

As n grows at fixed H, scores tend to N(0, Sigma x Sigma) and do not
concentrate; y is Gaussian given the scores alone (Sakai et al. 2025, Theorem
3.1, https://arxiv.org/abs/2506.00846). Sigma_ts is x_t x_s / n.

The law at a finite width is drawn as exactly, and as cheaply: an s x D times a
D x s matrix of normals is a triangular times a square one (Bartlett 1933), so a
draw costs O(s^3) whatever the widths.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from simplex.types import Array, Key

Phi = Callable[[Array, Array], Array]
# Products of matrices up to this size are sums of fused products: on a CPU a
# call of the library costs more than they do.
_SMALL = 8


class Draws(NamedTuple):
  """Independent layers, each seen through a few coordinates of its output.

  Attributes:
    outputs: y `[N, T, C]`; the C coordinates share the layer's scores.
    scores: `[N, H, T, S]`, before `phi`.
    covariances: `[N, T, T]`, between the tokens of the first coordinate, given
      all but the last Gaussian vector: in the limit, given the scores. The
      coordinate is N(0, covariances[i]) in draw i, so that averages over these
      replace averages over outputs, with less noise.
  """

  outputs: Array
  scores: Array
  covariances: Array


def softmax(scores_TS: Array, mask_TS: Array) -> Array:
  """Softmax over the keys that the mask shows."""
  return jax.nn.softmax(scores_TS, axis=-1, where=mask_TS)


def elementwise(fn: Callable[[Array], Array]) -> Phi:
  """A map of every score by itself, 0 where the mask hides the key."""
  return lambda scores_TS, mask_TS: jnp.where(mask_TS, fn(scores_TS), 0.0)


PHIS = {
  "softmax": softmax,
  "sigmoid": elementwise(jax.nn.sigmoid),
  "tanh": elementwise(jnp.tanh),
  "relu": elementwise(jax.nn.relu),
  "linear": elementwise(lambda scores_TS: scores_TS),
}


def gram(x_TE: Array) -> Array:
  """Sigma of a layer's inputs, such as those of a Flax layer: x x^T / E."""
  chex.assert_rank(x_TE, 2)
  return x_TE @ x_TE.T / x_TE.shape[1]


def rectified(sigma_TS: ArrayLike) -> np.ndarray:
  """Sigma of relu(u) where u is N(0, Sigma): arc-cosine kernel (Cho & Saul)."""
  sigma_TS = np.asarray(sigma_TS, np.float64)
  std_T = np.sqrt(np.diag(sigma_TS))
  size_TS = std_T[:, None] * std_T
  cosine_TS = np.clip(sigma_TS / size_TS, -1, 1)
  angle_TS = np.arccos(cosine_TS)
  turned_TS = np.sin(angle_TS) + (np.pi - angle_TS) * cosine_TS
  return size_TS * turned_TS / (2 * np.pi)


def sample_limit(
  key: Key,
  sigma_TS: ArrayLike,
  num_heads: int,
  phi: str | Phi = "softmax",
  *,
  num_samples: int,
  mask_TS: ArrayLike | None = None,
  num_coordinates: int = 1,
) -> Draws:
  """Layers of infinite width and few heads (Sakai et al. 2025, Theorem 3.1).

  Args:
    key: of the draws.
    sigma_TS: Sigma of the tokens; a concrete array, not a traced one.
    num_heads: H.
    phi: a key of `PHIS`, or `(scores, mask) -> weights` over the last axis.
    num_samples: N, independent layers. Many take `jax.lax.map` over keys.
    mask_TS: true where a query sees a key; None is all.
    num_coordinates: C.

  Raises:
    ValueError: Sigma is not a covariance, a count is below 1, `phi` is not
      known, or a query sees no key.
  """
  root_TR = root(sigma_TS)
  roots = functools.partial(_fixed, root_TR, None)
  tokens = root_TR.shape[0]
  layer = _checked(
    num_heads, phi, num_samples, mask_TS, num_coordinates, tokens
  )
  return layer(key, roots, None)


def sample_finite(
  key: Key,
  sigma_TS: ArrayLike,
  num_heads: int,
  phi: str | Phi = "softmax",
  *,
  num_samples: int,
  width: int | Array,
  head_width: int | Array | None = None,
  inputs: str = "fixed",
  mask_TS: ArrayLike | None = None,
  num_coordinates: int = 1,
) -> Draws:
  """Layers of a finite width, by their exact law.

  Args:
    key: of the draws.
    sigma_TS: Sigma of the tokens; a concrete array, not a traced one.
    num_heads: H.
    phi: a key of `PHIS`, or `(scores, mask) -> weights` over the last axis.
    num_samples: N, independent layers. Many take `jax.lax.map` over keys.
    width: n of the inputs. A traced one, so that one program serves many
      widths, has to be above s.
    head_width: D; None is n, as in the paper's theorem.
    inputs: what is drawn anew with every layer, a key of `INPUTS`. "fixed":
      nothing, x x^T / n is Sigma. "gaussian": the paper's, x_t = W_t h with h
      and W_t normal, correlated by Sigma. "rectified": relu of these; costs
      O(s^2 n).
    mask_TS: true where a query sees a key; None is all.
    num_coordinates: C.

  Raises:
    ValueError: Sigma is not a covariance, a count is below 1, `phi` or
      `inputs` is not known, or a query sees no key.
  """
  head_width = width if head_width is None else head_width
  _check_counts(width=width, head_width=head_width)
  if inputs not in INPUTS:
    raise ValueError(f"inputs={inputs!r} is not one of {sorted(INPUTS)}")
  root_TR = root(sigma_TS)
  roots = functools.partial(INPUTS[inputs], root_TR, width)
  tokens = root_TR.shape[0]
  layer = _checked(
    num_heads, phi, num_samples, mask_TS, num_coordinates, tokens
  )
  return layer(key, roots, head_width)


def root(sigma_TS: ArrayLike) -> np.ndarray:
  """A square matrix C with C C^T = Sigma, which may be singular.

  Raises:
    ValueError: Sigma is not square, finite, symmetric and positive
      semi-definite, up to rounding.
  """
  sigma_TS = np.asarray(sigma_TS, np.float64)
  if sigma_TS.ndim != 2 or len(set(sigma_TS.shape)) != 1 or not sigma_TS.size:
    raise ValueError(f"Sigma has the shape {sigma_TS.shape}, not [s, s]")
  if not np.isfinite(sigma_TS).all():
    raise ValueError(f"Sigma is not finite: {sigma_TS.tolist()}")
  size = np.abs(sigma_TS).max()
  if (skew := np.abs(sigma_TS - sigma_TS.T).max()) > 1e-5 * size:
    raise ValueError(f"Sigma is not symmetric: entries differ by {skew:.3g}")
  values_R, vectors_TR = np.linalg.eigh((sigma_TS + sigma_TS.T) / 2)
  if values_R[0] < -1e-5 * size:
    raise ValueError(
      "Sigma is not positive semi-definite: its smallest eigenvalue is "
      f"{values_R[0]:.3g}"
    )
  root_TR = vectors_TR * np.sqrt(np.maximum(values_R, 0))
  return root_TR.astype(np.float32)


def bartlett(key: Key, num_samples: int, rows: int, columns: int) -> Array:
  """Lower triangular B with B B^T as Z Z^T, Z normal `[rows, columns]`.

  The diagonal holds chi variables of columns, columns - 1, ... degrees of
  freedom, and below it are normals (Bartlett 1933).

  Args:
    key: of the draws.
    num_samples: N.
    rows: R, below `columns`.
    columns: degrees of freedom.

  Returns:
    `[N, R, R]`.

  Raises:
    ValueError: there are not more columns than rows.
  """
  if _is_at_most(columns, rows):
    raise ValueError(f"columns={columns} must be above rows={rows}")
  diagonal_key, below_key = jax.random.split(key)
  freedoms_R = columns - np.arange(rows, dtype=np.float32)
  diagonal_NR = jnp.sqrt(_chi_squared(diagonal_key, freedoms_R, num_samples))
  below_NK = jax.random.normal(below_key, (num_samples, rows * (rows - 1) // 2))
  # Only what is below the diagonal is drawn; the last entry is the zero above.
  zero_N1 = jnp.zeros((num_samples, 1))
  entries = jnp.concatenate([diagonal_NR, below_NK, zero_N1], axis=1)
  place_RR = np.full((rows, rows), entries.shape[1] - 1)
  place_RR[np.diag_indices(rows)] = np.arange(rows)
  place_RR[np.tril_indices(rows, -1)] = rows + np.arange(below_NK.shape[1])
  return entries[:, place_RR]


def _layer(
  key, roots, head_width, *, num_heads, phi, mask_TS, num_samples, coordinates
) -> Draws:
  """Draws layers whose x x^T / n is L L^T, with L from `roots(key, N)`."""
  N, H, C = num_samples, num_heads, coordinates
  root_key, factor_key, normal_key = jax.random.split(key, 3)
  root_MTR = jnp.repeat(roots(root_key, N), H, axis=0)  # M: layers and heads
  R = root_MTR.shape[2]
  # The columns of q are N(0, L L^T), as are those of k; q k^T / sqrt(D) is
  # therefore L Z_q Z_k^T L^T / sqrt(D), and Z_q = B O with rows of O that turn
  # Z_k^T into a normal matrix of as few rows as B has columns.
  query_MTR, value_MSR = root_MTR, root_MTR
  if head_width is not None:
    factors = _normal_factor(factor_key, 2 * N * H, R, head_width)
    query_MTR = _matmul(root_MTR, factors[: N * H])
    value_MSR = _matmul(root_MTR, factors[N * H :])
  shape = (N * H, query_MTR.shape[2], R + C)
  core_MRR, last_MRC = jnp.split(
    jax.random.normal(normal_key, shape), [R], axis=2
  )
  scores_MTS = _matmul(_matmul(query_MTR, core_MRR), root_MTR.swapaxes(1, 2))
  weights_MTS = phi(scores_MTS, mask_TS)
  outputs_MTC = _matmul(weights_MTS, _matmul(value_MSR, last_MRC))
  mixed_MTR = _matmul(weights_MTS, value_MSR)
  covariances_MTT = _matmul(mixed_MTR, mixed_MTR.swapaxes(1, 2))
  heads = lambda x: x.reshape(N, H, *x.shape[1:])
  return Draws(
    heads(outputs_MTC).sum(axis=1) / np.sqrt(H),
    heads(scores_MTS),
    heads(covariances_MTT).mean(axis=1),
  )


def _normal_factor(key: Key, num_samples: int, rows: int, columns: int):
  """Y with Y Y^T as Z Z^T / columns, Z normal `[rows, columns]`, no wider."""
  if _is_at_most(columns, rows):
    factor_NRR = jax.random.normal(key, (num_samples, rows, columns))
  else:
    factor_NRR = bartlett(key, num_samples, rows, columns)
  return factor_NRR / jnp.sqrt(columns)


def _fixed(root_TR, width, key, num_samples):
  del width, key
  return jnp.broadcast_to(root_TR, (num_samples, *root_TR.shape))


def _gaussian(root_TR, width, key, num_samples):
  """Tokens x_t = W_t h: normal, given the length of h that they share."""
  length_key, token_key = jax.random.split(key)
  factor = functools.partial(_normal_factor, num_samples=num_samples)
  length_N11 = jnp.abs(factor(length_key, rows=1, columns=width))
  factor_NRR = factor(token_key, rows=root_TR.shape[1], columns=width)
  root_NTR = _fixed(root_TR, width, key, num_samples)
  return length_N11 * _matmul(root_NTR, factor_NRR)


def _rectified(root_TR, width, key, num_samples):
  """Tokens relu(W_t h), whose Gram matrix has no short cut, and may be flat."""
  length_key, token_key = jax.random.split(key)
  length_N11 = jnp.abs(_normal_factor(length_key, num_samples, 1, width))
  shape = (num_samples, root_TR.shape[1], width)
  x_NTE = jax.nn.relu(root_TR @ jax.random.normal(token_key, shape))
  gram_NTS = jnp.matmul(x_NTE, x_NTE.swapaxes(1, 2), precision="highest")
  values_NR, vectors_NTR = jnp.linalg.eigh(gram_NTS / width)
  root_NR = jnp.sqrt(jnp.maximum(values_NR, 0))
  return length_N11 * vectors_NTR * root_NR[:, None]


INPUTS = {"fixed": _fixed, "gaussian": _gaussian, "rectified": _rectified}


def _chi_squared(key: Key, freedoms_R: ArrayLike, num_samples: int) -> Array:
  """`[N, R]` by rejection, exactly (Marsaglia & Tsang 2000); freedoms >= 2.

  `jax.random.gamma` takes eight times as long on a CPU: it draws the numbers
  one by one.
  """
  shape_R = jnp.asarray(freedoms_R) / 2 - 1 / 3
  slope_R = 1 / jnp.sqrt(9 * shape_R)
  size = (num_samples, shape_R.shape[0])

  def draw(state):
    key, found, accepted = state
    key, normal_key, uniform_key = jax.random.split(key, 3)
    z = jax.random.normal(normal_key, size)
    log_u = jnp.log1p(-jax.random.uniform(uniform_key, size))
    v = (1 + slope_R * z) ** 3
    log_v = jnp.log(jnp.maximum(v, jnp.finfo(v.dtype).tiny))
    accept = log_u < z**2 / 2 + shape_R * (1 - v + log_v)
    found = jnp.where(accepted, found, 2 * shape_R * v)
    return key, found, accepted | (accept & (v > 0))

  start = (key, jnp.zeros(size), jnp.zeros(size, bool))
  return jax.lax.while_loop(lambda state: ~state[2].all(), draw, start)[1]


def _matmul(a: Array, b: Array) -> Array:
  if max(*a.shape[1:], *b.shape[1:]) <= _SMALL:
    return jnp.sum(a[:, :, :, None] * b[:, None], axis=2)
  return jnp.matmul(a, b, precision="highest")


def _checked(num_heads, phi, num_samples, mask_TS, coordinates, tokens):
  """`_layer` with settings that are known to be right."""
  _check_counts(
    num_heads=num_heads, num_samples=num_samples, num_coordinates=coordinates
  )
  if not callable(phi) and phi not in PHIS:
    raise ValueError(f"phi={phi!r} is not a function or one of {sorted(PHIS)}")
  mask_TS = np.ones((tokens, tokens), bool) if mask_TS is None else mask_TS
  mask_TS = np.asarray(mask_TS, bool)
  chex.assert_shape(mask_TS, (tokens, tokens))
  if not (sees_T := mask_TS.any(1)).all():
    raise ValueError(f"query {np.argmin(sees_T)} sees no key in the mask")
  return functools.partial(
    _layer,
    num_heads=num_heads,
    phi=phi if callable(phi) else PHIS[phi],
    mask_TS=mask_TS,
    num_samples=num_samples,
    coordinates=coordinates,
  )


def _is_at_most(width, bound) -> bool:
  """Whether it is known to be: a traced width has to be above all bounds."""
  return not isinstance(width, jax.core.Tracer) and width <= bound


def _check_counts(**counts: int) -> None:
  for name, count in counts.items():
    if _is_at_most(count, 0):
      raise ValueError(f"{name}={count} must be at least 1")
