"""Tests for simplex/analysis/dynamics/krylov.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import krylov


class KrylovTest(chex.TestCase):
  def test_the_basis_is_orthonormal_and_carries_the_matrix(self):
    A = jax.random.normal(jax.random.key(0), (6, 6))
    Q, H = krylov.arnoldi(lambda x: A @ x, jnp.ones(6), 4)
    np.testing.assert_allclose(Q @ Q.T, np.eye(5), atol=1e-5)
    np.testing.assert_allclose(A @ Q[:4].T, Q.T @ H, atol=1e-5)

  def test_after_a_breakdown_all_is_zero(self):
    A = np.diag([2.0, 3.0, 4.0]).astype(np.float32)
    start = jnp.asarray([1.0, 1.0, 0.0])  # an invariant plane
    Q, H = krylov.arnoldi(lambda x: A @ x, start, 3)
    np.testing.assert_array_equal(Q[2:], 0)
    values = np.sort(np.linalg.eigvals(np.asarray(H)[:3]).real)
    np.testing.assert_allclose(values, [0, 2, 3], atol=1e-5)

  def test_restarted_gmres_solves_a_system_that_is_not_symmetric(self):
    key, b_key = jax.random.split(jax.random.key(0))
    A = jnp.eye(12) + 0.2 * jax.random.normal(key, (12, 12))
    b = jax.random.normal(b_key, (12,))
    x, solved = krylov.gmres(lambda x: A @ x, b, size=8, restarts=50)
    self.assertTrue(solved)
    np.testing.assert_allclose(A @ x, b, atol=1e-4)

  def test_a_system_without_a_solution_says_so(self):
    A = jnp.diag(jnp.asarray([1.0, 0.0]))
    _, solved = krylov.gmres(lambda x: A @ x, jnp.ones(2))
    self.assertFalse(solved)


if __name__ == "__main__":
  absltest.main()
