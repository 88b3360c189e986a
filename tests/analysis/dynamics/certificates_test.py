"""Tests for simplex/analysis/dynamics/certificates.py."""

from absl.testing import absltest
import chex
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import certificates, solvers

# |J| is 2.07 and the radius sqrt(.3^2 + .6^2), of a complex pair.
SPIRAL = np.array(
  [[0.1, 2.0, 0.0], [0.0, 0.3, -0.6], [0.0, 0.6, 0.3]], np.float32
)


def spiral(z_D):
  return jnp.asarray(SPIRAL) @ z_D


def well(z_D):
  """Fixed at -1, 0 and 1: attractor, saddle and attractor."""
  return z_D + 0.5 * (z_D - z_D**3)


class CertificatesTest(chex.TestCase):
  def test_radius_and_norm_are_those_of_a_matrix_with_a_complex_pair(self):
    found = certificates.certify(spiral, jnp.zeros((2, 3)))
    np.testing.assert_allclose(found.radius_N, np.hypot(0.3, 0.6), rtol=1e-5)
    np.testing.assert_allclose(
      found.norm_N, np.linalg.norm(SPIRAL, 2), rtol=1e-4
    )
    np.testing.assert_array_equal(found.kind_N, certificates.ATTRACTOR)
    np.testing.assert_array_equal(found.bound_N, np.inf)  # |J| is above 1

  def test_attractors_saddles_and_slow_points_are_told_apart(self):
    points = jnp.asarray([[-1.0], [0.0], [1.0], [0.5]])
    found = certificates.certify(well, points)
    np.testing.assert_array_equal(found.kind_N, [0, 1, 0, 2])
    np.testing.assert_allclose(found.radius_N[:3], [0, 1.5, 0], atol=1e-6)
    self.assertEqual(
      certificates.describe(found),
      "4 points: 2 attractors, 1 saddles, 1 slow; radius 0 to 1.5",
    )

  def test_a_radius_of_one_is_slow(self):
    found = certificates.certify(lambda z: z, jnp.ones((1, 2)))
    self.assertEqual(found.kind_N[0], certificates.SLOW)

  def test_a_point_that_is_not_finite_is_slow_and_nan(self):
    found = certificates.certify(well, jnp.asarray([[jnp.nan], [1.0]]))
    np.testing.assert_array_equal(found.kind_N, [2, 0])
    self.assertTrue(np.isnan(found.radius_N[0]))

  def test_the_error_to_first_order_is_exact_for_an_affine_map(self):
    points = jnp.asarray([[1.0, 2.0, 3.0]])
    found = certificates.certify(spiral, points)
    np.testing.assert_allclose(found.error_N, np.sqrt(14), rtol=1e-4)

  def test_the_bounds_of_the_error_are_never_violated(self):
    # |sin'| <= 1 and the factor .7: a contraction with L = .7.
    fn = lambda z_D: 0.7 * jnp.sin(z_D) + jnp.asarray([0.3, -0.5])
    z_ND = jnp.asarray(np.random.default_rng(0).normal(size=(50, 2)) * 5)
    star_D = solvers.solve(fn, z_ND[:1], tolerance=1e-7).points[0]
    for _ in range(8):
      next_ND = 0.7 * jnp.sin(z_ND) + jnp.asarray([0.3, -0.5])
      step_N = jnp.linalg.norm(next_ND - z_ND, axis=1)
      away_N = np.linalg.norm(next_ND - star_D, axis=1)
      bound_N = certificates.error_bound(step_N, jnp.float32(0.7))
      np.testing.assert_array_less(away_N, bound_N + 1e-6)
      z_ND = next_ND
    self.assertEqual(float(certificates.error_bound(1.0, 1.0)), np.inf)

  def test_norms_alone_are_those_of_the_certificate(self):
    norms_N = certificates.jacobian_norms(spiral, jnp.ones((2, 3)))
    np.testing.assert_allclose(norms_N, np.linalg.norm(SPIRAL, 2), rtol=1e-4)

  def test_bad_arguments_are_named(self):
    with self.assertRaisesRegex(ValueError, "krylov_size=0"):
      certificates.certify(well, jnp.ones((1, 1)), krylov_size=0)
    with self.assertRaisesRegex(ValueError, "hold no start"):
      certificates.certify(well, jnp.ones((0, 1)))


if __name__ == "__main__":
  absltest.main()
