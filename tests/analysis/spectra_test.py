"""Tests for simplex/analysis/spectra.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import spectra


def with_spectrum(values, rows=12, columns=7, seed=0):
  """A matrix with random singular vectors and these singular values."""
  rng = np.random.default_rng(seed)
  u, _ = np.linalg.qr(rng.normal(size=(rows, len(values))))
  v, _ = np.linalg.qr(rng.normal(size=(columns, len(values))))
  return (u * values @ v.T).astype(np.float32)


class SpectraTest(chex.TestCase):
  def test_the_spectrum_is_what_the_matrix_was_made_of(self):
    s_K = spectra.spectrum(with_spectrum([8.0, 4.0, 1.0]))
    np.testing.assert_allclose(s_K, [8, 4, 1, 0, 0, 0, 0], atol=1e-5)

  def test_the_spectrum_of_the_covariance_is_that_of_numpy(self):
    x_NE = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    s_K = spectra.spectrum(x_NE + 3, of="covariance")
    expected = np.linalg.svd(np.cov(x_NE.T), compute_uv=False)
    np.testing.assert_allclose(s_K, expected, rtol=1e-4)

  def test_a_threshold_counts_values_relative_to_the_largest(self):
    s_K = spectra.spectrum(with_spectrum([5.0, 0.5, 0.05, 0.005]))
    thresholds = np.array([0.5, 0.05, 5e-3, 5e-4])
    ranks = spectra.numerical_rank(s_K, thresholds)
    np.testing.assert_array_equal(ranks, [1, 2, 3, 4])

  def test_ranks_of_equal_values_are_their_number(self):
    s_K = np.array([3.0, 3.0, 3.0, 0.0])
    for rank in (
      spectra.numerical_rank,
      spectra.effective_rank,
      spectra.stable_rank,
    ):
      self.assertAlmostEqual(float(rank(s_K)), 3.0, places=5)

  def test_stable_rank_is_below_effective_rank_is_below_rank(self):
    s_K = np.array([4.0, 2.0, 1.0])
    self.assertAlmostEqual(float(spectra.stable_rank(s_K)), 21 / 16, places=5)
    entropy = -sum(p * np.log(p) for p in s_K / 7)
    effective = float(spectra.effective_rank(s_K))
    self.assertAlmostEqual(effective, np.exp(entropy), places=5)

  def test_a_matrix_of_zeros_has_rank_0(self):
    s_K = spectra.spectrum(np.zeros((4, 3), np.float32))
    self.assertEqual(spectra.numerical_rank(s_K), 0)
    self.assertEqual(spectra.effective_rank(s_K), 0)
    self.assertEqual(spectra.stable_rank(s_K), 0)

  def test_alignment_is_1_along_the_kernel_and_0_across_it(self):
    kernel_EF = np.diag([3.0, 2.0, 1.0])
    along_NE = np.array([[5.0, 0, 0], [0, 1, 0]])
    across_NE = np.array([[0.0, 0, 5], [0, 1, 0]])
    self.assertAlmostEqual(float(spectra.alignment(along_NE, kernel_EF)), 1.0)
    self.assertAlmostEqual(float(spectra.alignment(across_NE, kernel_EF)), 0.0)
    half = spectra.alignment(across_NE, kernel_EF, directions=2)
    self.assertAlmostEqual(float(half), 0.5)

  def test_ranks_are_the_same_under_vmap_and_nan_where_the_matrix_is(self):
    x_BNE = np.stack([with_spectrum([2.0, 1.0]), with_spectrum([2.0])])
    x_BNE = np.concatenate([x_BNE, np.full_like(x_BNE[:1], np.nan)])
    rank = lambda x_NE: spectra.numerical_rank(spectra.spectrum(x_NE))
    ranks_B = jax.jit(jax.vmap(rank))(x_BNE)
    np.testing.assert_array_equal(ranks_B, [2, 1, np.nan])

  @parameterized.parameters(
    (np.zeros((0, 3)), "matrix", r"\(0, 3\) is empty"),
    (np.array([[1.0, np.nan], [np.inf, 0]]), "matrix", "has 2 values that are"),
    (np.ones((1, 3)), "covariance", "at least 2 rows; the matrix has 1"),
    (np.ones((2, 3)), "rows", "of='rows' is not one of .*'covariance'"),
  )
  def test_a_matrix_without_a_spectrum_is_an_error(self, x, of, message):
    with self.assertRaisesRegex(ValueError, message):
      spectra.spectrum(jnp.asarray(x), of=of)

  @parameterized.parameters(-0.1, 1.0, np.nan)
  def test_thresholds_out_of_range_are_errors(self, threshold):
    with self.assertRaisesRegex(ValueError, "must be at least 0 and below 1"):
      spectra.numerical_rank(np.ones(2), threshold)

  def test_ranks_of_no_singular_values_are_errors(self):
    with self.assertRaisesRegex(ValueError, "the matrix is empty"):
      spectra.effective_rank(np.zeros(0))

  def test_more_directions_than_there_are_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "directions=3 must be from 1 to 2"):
      spectra.alignment(np.ones((2, 4)), np.ones((4, 3)), directions=3)


if __name__ == "__main__":
  absltest.main()
