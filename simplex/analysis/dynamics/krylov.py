"""Arnoldi and GMRES on products with a matrix that is never formed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.types import Array

Matvec = Callable[[Array], Array]


class Hessenberg(NamedTuple):
  """A Q_m = Q_{m+1} H: an orthonormal basis and the matrix in it.

  After a breakdown, where an invariant subspace was found, what follows is 0:
  it adds eigenvalues 0 to H and changes no other.
  """

  basis_MD: Array  # [size + 1, D]
  matrix: Array  # [size + 1, size]


def arnoldi(matvec: Matvec, start_D: Array, size: int) -> Hessenberg:
  """Orthonormal basis of the Krylov space, by Gram-Schmidt done twice.

  Args:
    matvec: the product with a matrix, `[D] -> [D]`.
    start_D: the first direction; its length does not matter.
    size: products that are made, at least 1.
  """
  D = start_D.size
  tiny = jnp.finfo(start_D.dtype).eps
  basis_MD = jnp.zeros((size + 1, D), start_D.dtype)
  basis_MD = basis_MD.at[0].set(_unit(start_D, 0.0)[0])

  def extend(basis_MD, i):
    w_D = matvec(basis_MD[i])
    floor = 10 * tiny * jnp.linalg.norm(w_D)
    h_M = basis_MD @ w_D
    w_D = w_D - h_M @ basis_MD
    again_M = basis_MD @ w_D
    q_D, length = _unit(w_D - again_M @ basis_MD, floor)
    h_M = (h_M + again_M).at[i + 1].set(length)
    return basis_MD.at[i + 1].set(q_D), h_M

  basis_MD, rows = jax.lax.scan(extend, basis_MD, jnp.arange(size))
  return Hessenberg(basis_MD, rows.T)


def gmres(
  matvec: Matvec, b_D: Array, *, size: int = 20, restarts: int = 10
) -> tuple[Array, Array]:
  """Solves A x = b (Saad & Schultz 1986), with restarts.

  It ends when |b - A x| is at most 100 machine epsilons of |b|.

  Args:
    matvec: the product with A, `[D] -> [D]`.
    b_D: the right-hand side.
    size: products of a round; D are enough in exact arithmetic.
    restarts: most rounds, at least 1.

  Returns:
    x, and whether it solves the system.
  """
  size = min(size, b_D.size)
  enough = 100 * jnp.finfo(b_D.dtype).eps * jnp.linalg.norm(b_D)

  def improve(state):
    x_D, r_D, rounds = state
    length = jnp.linalg.norm(r_D)
    basis_MD, matrix = arnoldi(matvec, r_D, size)
    target = jnp.zeros(size + 1, b_D.dtype).at[0].set(length)
    y_M = jnp.linalg.lstsq(matrix, target)[0]
    x_D = x_D + y_M @ basis_MD[:-1]
    return x_D, b_D - matvec(x_D), rounds + 1

  def unsolved(state):
    _, r_D, rounds = state
    return (jnp.linalg.norm(r_D) > enough) & (rounds < restarts)

  zero_D = jnp.zeros_like(b_D)
  state = jax.lax.while_loop(unsolved, improve, (zero_D, b_D, 0))
  return state[0], jnp.linalg.norm(state[1]) <= enough


def _unit(x_D: Array, floor: Array | float) -> tuple[Array, Array]:
  """Returns x / |x| and |x|; zeros where |x| is at most the floor."""
  length = jnp.linalg.norm(x_D)
  seen = length > floor
  safe = jnp.where(seen, length, 1.0)
  return jnp.where(seen, x_D / safe, 0.0), jnp.where(seen, length, 0.0)
