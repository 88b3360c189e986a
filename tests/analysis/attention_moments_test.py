"""Tests for simplex/analysis/attention_moments.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from simplex.analysis import attention_limit, attention_moments, distances


class ExchangeableTest(chex.TestCase):
  @parameterized.parameters(
    (2, 0.6367, 0.120),
    (4, 0.3918, 0.2429),
    (8, 0.2323, 0.353),
    (16, 0.1326, 0.430),
    (64, 0.0388, 0.40),
  )
  def test_independent_tokens_have_the_derived_moments(
    self, tokens, variance, kurtosis
  ):
    for heads in (1, 4):
      found = attention_moments.exchangeable(tokens, heads)
      self.assertAlmostEqual(found.kernel[0, 0], variance, delta=2e-4)
      self.assertAlmostEqual(
        found.kurtosis[0], kurtosis / heads, delta=0.01 / heads
      )
      self.assertAlmostEqual(found.kernel[0, -1], 1 / tokens)

  def test_wild_scores_are_far_from_gaussian(self):
    found = attention_moments.exchangeable(64, 1, variance=2.0)
    self.assertAlmostEqual(found.kurtosis[0], 1.69, delta=0.02)

  def test_rectified_tokens_are_near_gaussian(self):
    sigma_TS = attention_limit.rectified(np.eye(4))
    found = attention_moments.exchangeable(
      4, 2, variance=sigma_TS[0, 0], correlation=sigma_TS[0, 1] / 0.5
    )
    self.assertAlmostEqual(found.kernel[0, 0], 0.2546, delta=2e-4)
    self.assertLess(found.kurtosis[0], 0.005)

  def test_two_tokens_agree_with_an_integral_over_one_normal(self):
    z_N = np.linspace(-12, 12, 20001)
    weight_N = stats.norm.pdf(z_N) * (z_N[1] - z_N[0])
    first_N = 1 / (1 + np.exp(-np.sqrt(2) * 1.3 * z_N))
    moment = (first_N**3 * (1 - first_N) * weight_N).sum()
    found = attention_moments.softmax_moment([3, 1], 2, 1.3)
    self.assertAlmostEqual(found, moment, places=10)

  def test_moments_of_a_softmax_sum_to_one(self):
    one = lambda powers: attention_moments.softmax_moment(powers, 5, 1.7)
    self.assertAlmostEqual(5 * one([1]), 1.0, places=10)
    self.assertAlmostEqual(5 * one([2]) + 20 * one([1, 1]), 1.0, places=10)

  def test_vanishing_correlation_has_no_jump(self):
    small, none = (
      attention_moments.exchangeable(3, 1, correlation=rho)
      for rho in (1e-9, 0.0)
    )
    np.testing.assert_allclose(small.kernel, none.kernel, atol=1e-8)

  @parameterized.parameters((1.0, 0.5, 4), (1.5, -0.3, 4), (2.0, 0.2, 5))
  def test_draws_agree_with_the_closed_forms(self, variance, rho, tokens):
    sigma_TS = variance * (rho + (1 - rho) * np.eye(tokens))
    draws = attention_limit.sample_limit(
      jax.random.key(0), sigma_TS, 2, num_samples=2**16
    )
    value, error = attention_moments.estimate(draws.covariances)
    exact = attention_moments.exchangeable(
      tokens, 2, variance=variance, correlation=rho
    )
    for a, b, c in zip(value, exact, error, strict=True):
      self.assertLess(np.abs((a - b) / c).max(), 4)

  @parameterized.parameters(
    ({"num_tokens": 0}, "num_tokens=0 must be from 1"),
    ({"num_heads": 0}, "num_heads=0 must be from 1"),
    ({"variance": -1.0}, "variance=-1.0 must be from 0"),
    ({"correlation": -0.5}, "correlation=-0.5 must be from -0.333 to 0.95"),
    ({"correlation": 1.0}, "correlation=1.0 must be from -0.333 to 0.95"),
  )
  def test_what_is_out_of_range_is_named(self, kwargs, message):
    with self.assertRaisesRegex(ValueError, message):
      attention_moments.exchangeable(
        **({"num_tokens": 4, "num_heads": 1} | kwargs)
      )


class EstimateTest(chex.TestCase):
  def test_errors_are_those_of_repeated_estimates(self):
    def one(key):
      draws = attention_limit.sample_limit(
        key, np.eye(3), 1, num_samples=500, mask_TS=np.tri(3, dtype=bool)
      )
      return attention_moments.estimate(draws.covariances)

    keys = jax.random.split(jax.random.key(0), 400)
    value, error = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
    # The first token sees itself alone: nothing is random.
    np.testing.assert_allclose(value.kernel[:, 0, 0], 1.0, rtol=1e-5)
    last = lambda moments: (moments.kernel[:, 2, 2], moments.kurtosis[:, 2])
    for spread, said in zip(last(value), last(error), strict=True):
      self.assertAlmostEqual(float(spread.std() / said.mean()), 1, delta=0.12)

  def test_one_draw_has_no_error(self):
    with self.assertRaisesRegex(ValueError, "1 draws have no standard error"):
      attention_moments.estimate(jnp.ones((1, 2, 2)))


class ScoreTest(chex.TestCase):
  def test_the_moments_are_those_of_the_notes(self):
    for width, variance in ((16, 1.2656), (64, 1.0635), (256, 1.0157)):
      found, kurtosis = attention_moments.score_moments(width)
      self.assertAlmostEqual(found, variance, delta=1e-4)
    self.assertAlmostEqual(kurtosis, 0.22, delta=0.01)


class MixtureTest(chex.TestCase):
  def test_two_normals_are_apart_by_their_deviations(self):
    # W1 of N(0, a^2) and N(0, b^2) is |a - b| sqrt(2 / pi).
    found = attention_moments.mixture_wasserstein(
      jnp.full(10, 4.0), jnp.full(7, 1.0)
    )
    self.assertAlmostEqual(float(found), np.sqrt(2 / np.pi), delta=1e-3)

  def test_it_is_the_distance_of_sampled_outputs(self):
    key_x, key_y, key_z = jax.random.split(jax.random.key(0), 3)
    x_N = jax.random.exponential(key_x, (20_000,))
    y_N = 2 * jax.random.uniform(key_y, (20_000,))
    z_2N = jax.random.normal(key_z, (2, 20_000))
    sampled = distances.wasserstein(
      z_2N[0] * jnp.sqrt(x_N), z_2N[1] * jnp.sqrt(y_N)
    )
    found = attention_moments.mixture_wasserstein(x_N, y_N)
    self.assertAlmostEqual(float(found), float(sampled), delta=0.02)


if __name__ == "__main__":
  absltest.main()
