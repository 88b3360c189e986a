"""Tests for simplex/analysis/dynamics/dictionaries.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np
from sklearn import linear_model

from simplex.analysis.dynamics import dictionaries


class DictionariesTest(chex.TestCase):
  def test_a_pursuit_is_that_of_scikit_learn(self):
    keys = jax.random.split(jax.random.key(0))
    signals_ND = jax.random.normal(keys[0], (5, 8))
    atoms_KD = dictionaries.random(keys[1], 20, 8)
    unit_KD = atoms_KD / jnp.linalg.norm(atoms_KD, axis=1, keepdims=True)
    found = dictionaries.pursue(signals_ND, atoms_KD, (1, 3))
    for i, m in enumerate((1, 3)):
      weights = linear_model.orthogonal_mp(
        np.asarray(unit_KD.T, float),
        np.asarray(signals_ND.T, float),
        n_nonzero_coefs=m,
      )
      expected_ND = (np.asarray(unit_KD.T) @ weights).T
      np.testing.assert_allclose(
        found.approximations[:, i], expected_ND, atol=1e-4
      )

  def test_an_orthonormal_basis_explains_all_with_all_its_atoms(self):
    basis_DD = dictionaries.orthonormal(jax.random.key(0), 4)
    np.testing.assert_allclose(basis_DD @ basis_DD.T, np.eye(4), atol=1e-5)
    signals_ND = jax.random.normal(jax.random.key(1), (3, 4))
    found = dictionaries.pursue(signals_ND, basis_DD, (2, 4))
    np.testing.assert_allclose(
      found.approximations[:, 1], signals_ND, atol=1e-5
    )
    errors = jnp.sum((found.approximations[:, 0] - signals_ND) ** 2, axis=1)
    shares = jnp.sort((signals_ND @ basis_DD.T) ** 2, axis=1)
    np.testing.assert_allclose(errors, shares[:, :2].sum(1), atol=1e-5)

  def test_an_atom_is_taken_once_and_none_when_nothing_is_left(self):
    atoms_KD = jnp.asarray([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    found = dictionaries.pursue(jnp.asarray([[0.0, 1.0]]), atoms_KD, (3,))
    np.testing.assert_array_equal(found.atoms_NM, [[1, -1, -1]])

  def test_sparsities_that_do_not_fit_are_an_error(self):
    for bad in ((), (0,), (2, 1), (5,)):
      with self.assertRaisesRegex(ValueError, "at most the 4 atoms"):
        dictionaries.pursue(jnp.ones((1, 4)), jnp.eye(4), bad)


if __name__ == "__main__":
  absltest.main()
