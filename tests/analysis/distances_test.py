"""Tests for simplex/analysis/distances.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from simplex.analysis import distances

RNG = np.random.default_rng(0)
X_N = jnp.asarray(RNG.normal(size=300), jnp.float32)
Y_M = jnp.asarray(0.4 + 1.3 * RNG.normal(size=200), jnp.float32)


class LineTest(chex.TestCase):
  def test_unequal_samples_agree_with_scipy(self):
    np.testing.assert_allclose(
      distances.wasserstein(X_N, Y_M),
      stats.wasserstein_distance(X_N, Y_M),
      rtol=1e-5,
    )
    # SciPy's is the square root.
    np.testing.assert_allclose(
      distances.energy(X_N, Y_M), stats.energy_distance(X_N, Y_M) ** 2, 1e-5
    )
    np.testing.assert_allclose(
      distances.kolmogorov_smirnov(X_N, Y_M),
      stats.ks_2samp(X_N, Y_M).statistic,
      rtol=1e-5,
    )
    np.testing.assert_allclose(
      distances.kolmogorov_smirnov_to(X_N, jax.scipy.stats.norm.cdf),
      stats.kstest(np.asarray(X_N), "norm").statistic,
      rtol=1e-4,
    )

  def test_a_shift_costs_its_length(self):
    shifted = distances.wasserstein(X_N, X_N + 0.5)
    self.assertAlmostEqual(float(shifted), 0.5, places=5)

  def test_the_energy_distance_is_that_of_all_pairs(self):
    gap = lambda x, y: np.abs(np.subtract.outer(x, y)).mean()
    x, y = np.asarray(X_N), np.asarray(Y_M)
    pairs = 2 * gap(x, y) - gap(x, x) - gap(y, y)
    np.testing.assert_allclose(distances.energy(X_N, Y_M), pairs, rtol=1e-4)

  def test_equal_values_do_not_count_twice(self):
    x_N, y_M = jnp.array([0.0, 0.0, 1.0]), jnp.array([1.0, 0.0, 0.0])
    for distance in (
      distances.wasserstein,
      distances.energy,
      distances.kolmogorov_smirnov,
    ):
      self.assertEqual(distance(x_N, y_M), 0.0)

  @parameterized.parameters((0.02, 300, 200), (0.1, 300, 200), (0.15, 300, 200))
  def test_p_values_agree_with_scipy(self, distance, N, M):
    ours = distances.kolmogorov_p_value(distance, N, M)
    theirs = stats.kstwo.sf(distance, round(N * M / (N + M)))
    np.testing.assert_allclose(ours, theirs, atol=0.01)

  def test_one_true_law_in_twenty_is_refused_at_five_per_cent(self):
    x_KN = jax.random.normal(jax.random.key(0), (4000, 100))

    def one(x_N):
      gap = distances.kolmogorov_smirnov_to(x_N, jax.scipy.stats.norm.cdf)
      return gap, distances.kolmogorov_p_value(gap, 100)

    gap_K, p_K = jax.jit(jax.vmap(one))(x_KN)
    self.assertAlmostEqual(float((p_K < 0.05).mean()), 0.05, delta=0.01)
    np.testing.assert_allclose(p_K, stats.kstwo.sf(gap_K, 100), atol=0.013)

  def test_empty_samples_are_an_error(self):
    with self.assertRaisesRegex(ValueError, "samples of 300 and 0 values"):
      distances.wasserstein(X_N, Y_M[:0])


class SlicedTest(chex.TestCase):
  def test_a_shift_costs_the_mean_of_its_projections(self):
    x_ND = jax.random.normal(jax.random.key(0), (50, 3))
    shift_D = jnp.array([0.0, 2.0, 0.0])
    found = distances.sliced_wasserstein(
      jax.random.key(1), x_ND, x_ND + shift_D, num_slices=2000
    )
    # A coordinate on the sphere in three dimensions is uniform in [-1, 1].
    self.assertAlmostEqual(float(found), 1.0, delta=0.03)

  def test_no_slices_are_an_error(self):
    with self.assertRaisesRegex(ValueError, "num_slices=0"):
      distances.sliced_wasserstein(
        jax.random.key(0), X_N[:, None], Y_M[:, None], num_slices=0
      )


class BesideFloorTest(chex.TestCase):
  def test_same_distributions_are_at_the_floor_and_others_above(self):
    same_N = jax.random.normal(jax.random.key(1), (300,))
    measure = jax.jit(
      lambda key, x, y: distances.beside_floor(
        key, distances.wasserstein, x, y, relabellings=99
      )
    )
    near = measure(jax.random.key(2), X_N, same_N)
    far = measure(jax.random.key(2), X_N, same_N + 0.5)
    self.assertLess(near.value, 2 * near.floor)
    self.assertGreater(near.p_value, 0.05)
    self.assertGreater(far.value, 4 * far.floor)
    self.assertAlmostEqual(float(far.p_value), 0.01)

  def test_no_relabellings_are_an_error(self):
    with self.assertRaisesRegex(ValueError, "relabellings=0"):
      distances.beside_floor(
        jax.random.key(0), distances.energy, X_N, Y_M, relabellings=0
      )


class ChamferTest(chex.TestCase):
  def test_the_mean_is_of_both_ways_and_the_least_of_all_pairs(self):
    x_ND = jnp.array([[0.0, 0.0], [3.0, 0.0]])
    y_MD = jnp.array([[0.0, 1.0]])
    found = distances.chamfer(x_ND, y_MD)
    self.assertAlmostEqual(float(found.forward), (1 + 10**0.5) / 2, places=6)
    self.assertEqual(found.backward, 1.0)
    self.assertEqual(found.least, 1.0)
    self.assertAlmostEqual(float(found.mean), (3 + 10**0.5) / 4, places=6)
    back = distances.chamfer(y_MD, x_ND)
    self.assertAlmostEqual(float(back.mean), float(found.mean), places=6)

  def test_cosine_sees_directions_alone(self):
    x_ND = jax.random.normal(jax.random.key(0), (5, 3))
    scaled = distances.chamfer(x_ND, 7.0 * x_ND, metric=distances.cosine)
    self.assertAlmostEqual(float(scaled.mean), 0.0, places=5)
    turned = distances.chamfer(x_ND[:1], -x_ND[:1], metric=distances.cosine)
    self.assertAlmostEqual(float(turned.mean), 2.0, places=5)

  def test_an_empty_set_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "sets of 0 and 2 points"):
      distances.chamfer(jnp.zeros((0, 3)), jnp.zeros((2, 3)))


if __name__ == "__main__":
  absltest.main()
