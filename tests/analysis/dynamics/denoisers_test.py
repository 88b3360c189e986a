"""Tests for simplex/analysis/dynamics/denoisers.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np
from sklearn import datasets

from simplex.analysis.dynamics import attractors, denoisers, solvers

SIGMAS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)
COUNTS = [300, 300, 300, 257, 119, 24, 11, 5, 1]


def log_density(points_ND, sigma, z_D):
  squares_N = jnp.sum((points_ND - z_D) ** 2, axis=1)
  return jax.nn.logsumexp(-squares_N / (2 * sigma**2))


class DenoisersTest(chex.TestCase):
  def test_mean_shift_on_300_digits_has_the_known_numbers_of_attractors(self):
    # The first 300 digits; near sigma = 0.5 the tolerance matters.
    with jax.enable_x64(True):
      digits_ND = jnp.asarray(datasets.load_digits().data[:300] / 16)
      rule = attractors.Rule("euclid", threshold=1e-3, scale=1.0)
      counts = []
      for sigma in SIGMAS:
        fn = denoisers.mean_shift(digits_ND, sigma)
        solution = solvers.solve(fn, digits_ND, tolerance=1e-8, budget=20_000)
        self.assertEmpty(solvers.failures(solution))
        ends_ND = np.asarray(solution.points)
        counts.append(attractors.merge(ends_ND, rule).max() + 1)
    self.assertEqual(counts, COUNTS)

  def test_the_field_of_mean_shift_is_the_score(self):
    # Theorem 1: V = sigma^2 grad log p, so their product is positive.
    points_ND = jax.random.normal(jax.random.key(0), (9, 4))
    z_MD = jax.random.normal(jax.random.key(1), (30, 4))
    fn = denoisers.mean_shift(points_ND, 0.7)
    field_MD = jax.vmap(fn)(z_MD) - z_MD
    score = jax.grad(lambda z_D: log_density(points_ND, 0.7, z_D))
    score_MD = jax.vmap(score)(z_MD)
    np.testing.assert_allclose(field_MD, 0.49 * score_MD, atol=1e-5)
    self.assertGreater(float(jnp.sum(field_MD * score_MD, 1).min()), 0)

  def test_the_field_of_the_linear_denoiser_is_the_score(self):
    a = jax.random.normal(jax.random.key(0), (4, 4))
    cov_DD, z_D = a @ a.T, jnp.arange(4.0)
    fn = denoisers.linear_gaussian(cov_DD, 0.5)
    noisy_DD = cov_DD + 0.25 * jnp.eye(4)
    score_D = -jnp.linalg.solve(noisy_DD, z_D)
    np.testing.assert_allclose(fn(z_D) - z_D, 0.25 * score_D, atol=1e-5)

  def test_the_linear_denoiser_has_one_attractor_of_the_known_radius(self):
    cov_DD = jnp.diag(jnp.asarray([0.1, 1.0, 4.0]))
    fn = denoisers.linear_gaussian(cov_DD, 1.0)
    z_ND = jax.random.normal(jax.random.key(0), (20, 3))
    found = attractors.find(fn, z_ND)
    self.assertEqual(found.count, 1)
    np.testing.assert_allclose(found.certificate.radius_N, 0.8, rtol=1e-5)

  def test_the_rate_is_the_spectral_radius(self):
    # |e_t| of a symmetric map falls by rho = 4 / 5 at each step.
    fn = denoisers.linear_gaussian(jnp.diag(jnp.asarray([0.1, 4.0])), 1.0)
    solve = lambda budget: (
      solvers.solve(fn, jnp.ones((1, 2)), tolerance=0, budget=budget).points
    )
    ratio = jnp.linalg.norm(solve(40)) / jnp.linalg.norm(solve(20))
    np.testing.assert_allclose(jnp.log(ratio) / 20, np.log(0.8), rtol=0.01)

  def test_a_noise_of_zero_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "sigma=0"):
      denoisers.mean_shift(jnp.ones((1, 1)), 0)
    with self.assertRaisesRegex(ValueError, "sigma=-1"):
      denoisers.linear_gaussian(jnp.eye(2), -1)


if __name__ == "__main__":
  absltest.main()
