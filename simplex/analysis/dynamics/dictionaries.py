"""Points as sums of few atoms: attractors as a dictionary, and baselines."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.types import Array, Key


class Pursuit(NamedTuple):
  """What a greedy pursuit found.

  Attributes:
    atoms_NM: the atom that each of the M steps chose, in their order; -1 where
      nothing was left to explain.
    approximations: `[N, len(sparsities), D]`, one for each sparsity.
  """

  atoms_NM: Array
  approximations: Array


def pursue(
  signals_ND: Array, atoms_KD: Array, sparsities: Sequence[int]
) -> Pursuit:
  """Orthogonal matching pursuit (Mallat & Zhang 1993; Pati et al. 1993).

  Each step takes the atom of the largest cosine with what is left, and projects
  the signal on all atoms taken so far. The projections come from an
  orthonormal basis that grows with the atoms, so nothing is solved.

  Args:
    signals_ND: what to explain.
    atoms_KD: the dictionary; lengths do not matter.
    sparsities: numbers of atoms, increasing, of which the approximations are
      returned; the last is M.

  Raises:
    ValueError: the sparsities do not increase from at least 1 to at most K.
  """
  K, D = atoms_KD.shape
  steps = [0, *sparsities]
  rising = all(a < b for a, b in zip(steps, steps[1:], strict=False))
  if len(steps) < 2 or not rising or steps[-1] > K:
    raise ValueError(
      f"sparsities={tuple(sparsities)} do not increase from at least 1 to at "
      f"most the {K} atoms"
    )
  dtype = atoms_KD.dtype
  tiny = jnp.finfo(dtype).eps
  lengths_K1 = jnp.linalg.norm(atoms_KD, axis=1, keepdims=True)
  atoms_KD = atoms_KD / jnp.maximum(lengths_K1, jnp.finfo(dtype).tiny)

  def one(signal_D):
    floor = 10 * tiny * jnp.linalg.norm(signal_D)

    def step(state, i):
      left_D, taken_K, basis_MD = state
      gains_K = jnp.where(taken_K, -1.0, jnp.abs(atoms_KD @ left_D))
      best = gains_K.argmax()
      q_D = atoms_KD[best]
      for _ in range(2):  # once loses orthogonality to rounding
        q_D = q_D - (basis_MD @ q_D) @ basis_MD
      length = jnp.linalg.norm(q_D)
      useful = (gains_K[best] > floor) & (length > 100 * tiny)
      q_D = jnp.where(useful, q_D / jnp.where(useful, length, 1.0), 0.0)
      left_D = left_D - (q_D @ left_D) * q_D
      basis_MD = basis_MD.at[i].set(q_D)
      state = left_D, taken_K.at[best].set(True), basis_MD
      return state, jnp.where(useful, best, -1)

    state = signal_D, jnp.zeros(K, bool), jnp.zeros((steps[-1], D), dtype)
    chosen, approximations = [], []
    for begin, end in zip(steps, steps[1:], strict=False):
      state, atoms = jax.lax.scan(step, state, jnp.arange(begin, end))
      chosen.append(atoms)
      approximations.append(signal_D - state[0])
    return Pursuit(jnp.concatenate(chosen), jnp.stack(approximations))

  return jax.vmap(one)(signals_ND)


def orthonormal(key: Key, size: int) -> Array:
  """A random orthonormal basis, `[size, size]`: the paper's baseline."""
  return jax.random.orthogonal(key, size)


def random(key: Key, count: int, size: int) -> Array:
  """Gaussian directions, `[count, size]`: as many as there are attractors.

  A larger dictionary explains more whatever it holds, so a dictionary must
  lead this one too.
  """
  return jax.random.normal(key, (count, size))
