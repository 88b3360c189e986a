"""How much of a change of a kernel adapters of some rank can make."""

import chex
import jax.numpy as jnp

from simplex.types import Array


def captured_by_pair(change_EE: Array, rank: int) -> Array:
  """Share of a change that two factors can make: L R^T, as in LoRA.

  The largest `1 - |C - L R^T|^2 / |C|^2`, Frobenius norms: the squares of the
  largest `rank` singular values over those of all (Eckart & Young 1936).

  Args:
    change_EE: C; any matrix that is not 0.
    rank: r, at least 0.

  Returns:
    A scalar in [0, 1].
  """
  chex.assert_rank(change_EE, 2)
  squares = jnp.linalg.svd(change_EE, compute_uv=False) ** 2
  return squares[:rank].sum() / squares.sum()


def captured_by_one(change_EE: Array, rank: int) -> Array:
  """Share of a change that one factor can make: A A^T, as in SingLoRA.

  A A^T is symmetric and positive semi-definite. The nearest one to C has the
  largest `rank` eigenvalues of the symmetric part of C, those below 0 left out:
  the antisymmetric part and the negative eigenvalues are out of reach at any
  rank. Of a large Gaussian matrix that leaves a quarter.

  Args:
    change_EE: C; a square matrix that is not 0.
    rank: r, at least 0.

  Returns:
    A scalar in [0, 1].
  """
  chex.assert_shape(change_EE, (change_EE.shape[0],) * 2)
  values = jnp.linalg.eigvalsh((change_EE + change_EE.T) / 2)[::-1]
  squares = jnp.maximum(values[:rank], 0) ** 2
  return squares.sum() / jnp.sum(change_EE**2)
