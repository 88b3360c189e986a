"""What is known of a point that a solver returned: its stability and error."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import krylov, solvers
from simplex.types import Array

ATTRACTOR, SADDLE, SLOW = 0, 1, 2
KINDS = ("attractor", "saddle", "slow")
_AT_ONCE = 256  # points whose Krylov bases are in memory together


class Certificate(NamedTuple):
  """Measured at each point; J is the Jacobian there.

  Attributes:
    residual_N: |f(z) - z|.
    radius_N: spectral radius of J, the asymptotic rate of convergence.
    radius_error_N: Arnoldi's residual |J u - lambda u| for that eigenvalue; 0
      up to rounding when the Krylov space is everything.
    norm_N: |J|, the largest singular value, from below.
    bound_N: |f(z) - z| / (1 - |J|), the a-posteriori bound of the distance to
      the fixed point, if |J| is a Lipschitz constant on the way there;
      infinite where |J| is not below 1.
    error_N: |(I - J)^-1 (f(z) - z)|, that distance to first order, for any J;
      NaN where the system was not solved.
    kind_N: an index of `KINDS`. Attractor: the residual is within tolerance
      and the radius, with its error, below 1 - margin. Saddle: within
      tolerance, and some direction grows by more than 1 + margin. Slow: the
      rest, not yet fixed or too near 1 to tell.
  """

  residual_N: np.ndarray
  radius_N: np.ndarray
  radius_error_N: np.ndarray
  norm_N: np.ndarray
  bound_N: np.ndarray
  error_N: np.ndarray
  kind_N: np.ndarray


def certify(
  fn: Callable[[Any], Any],
  points: Any,
  *,
  tolerance: float = 1e-5,
  margin: float = 1e-3,
  krylov_size: int = 64,
  iterations: int = 50,
) -> Certificate:
  """Certifies every point; nothing is formed but products with J and J'.

  Args:
    fn: the map, of one point; see `solvers.solve`.
    points: a tree with a leading axis of N.
    tolerance: largest residual of a fixed point.
    margin: how far from 1 the radius must be.
    krylov_size: products by which the radius is found; all D of them, or more,
      give all eigenvalues, complex pairs too.
    iterations: of the power iteration on J'J.

  Raises:
    ValueError: a map that changes its argument's shape, no points, or a
      `krylov_size` or `iterations` below 1.
  """
  solvers.check_starts(points)
  if min(krylov_size, iterations) < 1:
    raise ValueError(f"{krylov_size=} and {iterations=} must be at least 1")
  solvers.check_map(fn, jax.tree.map(lambda x: x[0], points))
  measured = _measure(
    solvers.as_argument(fn), points, size=krylov_size, iterations=iterations
  )
  residual_N, matrix_NMM, norm_N, error_N = map(np.asarray, measured)
  radius_N, radius_error_N = _radius(matrix_NMM)
  gap_N = np.where(norm_N < 1, 1 - norm_N, np.nan)
  bound_N = np.where(norm_N < 1, residual_N / gap_N, np.inf)
  fixed_N = residual_N <= tolerance
  kind_N = np.full(len(radius_N), SLOW)
  kind_N[fixed_N & (radius_N + radius_error_N < 1 - margin)] = ATTRACTOR
  kind_N[fixed_N & (radius_N - radius_error_N > 1 + margin)] = SADDLE
  return Certificate(
    residual_N, radius_N, radius_error_N, norm_N, bound_N, error_N, kind_N
  )


def describe(certificate: Certificate) -> str:
  """`12 points: 11 attractors, 1 saddle, 0 slow; radius 0.31 to 1.04`."""
  counts = np.bincount(certificate.kind_N, minlength=len(KINDS))
  radius_N = certificate.radius_N
  return (
    f"{len(radius_N)} points: {counts[ATTRACTOR]} attractors, "
    f"{counts[SADDLE]} saddles, {counts[SLOW]} slow; "
    f"radius {np.min(radius_N):.3g} to {np.max(radius_N):.3g}"
  )


def error_bound(step: Array, lipschitz: Array) -> Array:
  """L / (1 - L) * |z_t - z_{t-1}|, which is at least |z_t - z*| (Banach).

  Args:
    step: length of the last step.
    lipschitz: L of the map on a convex set that holds both; infinite where it
      is 1 or more, since then a small step says nothing.
  """
  safe = jnp.where(lipschitz < 1, lipschitz, 0.0)
  return jnp.where(lipschitz < 1, safe / (1 - safe) * step, jnp.inf)


def jacobian_norms(
  fn: Callable[[Any], Any], points: Any, *, iterations: int = 50
) -> Array:
  """|J| at each point, by power iteration on J'J, `[N]`, from below."""
  solvers.check_starts(points)
  return _norms(solvers.as_argument(fn), points, iterations=iterations)


@functools.partial(jax.jit, static_argnames="iterations")
def _norms(fn, points, *, iterations):
  vector_fn, z_ND, _ = solvers.flat(fn, points)

  def one(z_D):
    _, jvp = jax.linearize(vector_fn, z_D)
    return _norm(jvp, z_D, iterations)

  return jax.lax.map(one, z_ND, batch_size=_AT_ONCE)


@functools.partial(jax.jit, static_argnames=("size", "iterations"))
def _measure(fn, points, *, size, iterations):
  vector_fn, z_ND, _ = solvers.flat(fn, points)
  D = z_ND.shape[1]

  def one(z_D):
    f_D, jvp = jax.linearize(vector_fn, z_D)
    v_D = f_D - z_D
    start_D = _direction(z_D)
    matrix = krylov.arnoldi(jvp, start_D, min(size, D)).matrix
    error_D, solved = krylov.gmres(lambda x_D: x_D - jvp(x_D), v_D)
    error = jnp.where(solved, jnp.linalg.norm(error_D), jnp.nan)
    norm = _norm(jvp, z_D, iterations)
    return jnp.linalg.norm(v_D), matrix, norm, error

  return jax.lax.map(one, z_ND, batch_size=_AT_ONCE)


def _direction(z_D: Array) -> Array:
  """A direction that no structure of a Jacobian is likely to miss."""
  return jax.random.normal(jax.random.key(0), z_D.shape).astype(z_D.dtype)


def _norm(jvp, z_D: Array, iterations: int) -> Array:
  transpose = jax.linear_transpose(jvp, z_D)
  unit = lambda x_D: (
    x_D / jnp.maximum(jnp.linalg.norm(x_D), jnp.finfo(x_D.dtype).tiny)
  )

  def improve(x_D, _):
    return unit(transpose(jvp(x_D))[0]), None

  x_D, _ = jax.lax.scan(improve, unit(_direction(z_D)), length=iterations)
  return jnp.linalg.norm(jvp(x_D))


def _radius(matrix_NMM: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Spectral radius of each Hessenberg matrix, and Arnoldi's residual.

  On the host, since not every accelerator has eigenvalues of matrices that are
  not symmetric. Matrices with a value that is not finite give NaN.
  """
  finite_N = np.isfinite(matrix_NMM).all((1, 2))
  square = np.where(finite_N[:, None, None], matrix_NMM[:, :-1], 0.0)
  values_NM, vectors_NMM = np.linalg.eig(square)
  rows = np.arange(len(square))
  top_N = np.abs(values_NM).argmax(1)
  radius_N = np.abs(values_NM[rows, top_N])
  error_N = np.abs(matrix_NMM[:, -1, -1] * vectors_NMM[rows, -1, top_N])
  nan = lambda x_N: np.where(finite_N, x_N, np.nan)
  return nan(radius_N), nan(error_N)
