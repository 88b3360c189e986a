"""Tests for simplex/analysis/attention_limit.py."""

from absl.testing import absltest, parameterized
import chex
from flax import linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import attention_limit, attention_moments, distances

IDENTITY = np.eye(4)
HALF = 0.5 + 0.5 * np.eye(3)
CAUSAL = np.tri(3, dtype=bool)


def brute_force(key, sigma_TS, H, n, D, num_samples, inputs):
  """Layers with every weight drawn, outputs [N, T] and scores [N, T, S]."""
  root_TS = jnp.asarray(attention_limit.root(sigma_TS))
  T = root_TS.shape[0]

  def one(key):
    keys = jax.random.split(key, 7)
    normal = lambda i, *shape: jax.random.normal(keys[i], shape)
    x_TE = root_TS @ normal(0, T, n)
    x_TE *= jnp.linalg.norm(normal(1, n)) / np.sqrt(n)
    if inputs == "rectified":
      x_TE = jax.nn.relu(x_TE)
    q, k, v = (x_TE @ normal(i, H, n, D) / np.sqrt(n) for i in (2, 3, 4))
    scores_HTS = q @ k.swapaxes(1, 2) / np.sqrt(D)
    y_HT1 = jax.nn.softmax(scores_HTS) @ v @ normal(5, H, D, 1) / np.sqrt(D)
    return y_HT1.sum(0)[:, 0] / np.sqrt(H), scores_HTS[0]

  keys = jax.random.split(key, num_samples)
  return jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=500))(keys)


class FiniteTest(chex.TestCase):
  @parameterized.parameters(
    ("gaussian", 8, 8), ("gaussian", 6, 3), ("rectified", 8, 8)
  )
  def test_the_law_is_that_of_drawing_every_weight(self, inputs, n, D):
    N = 4000
    y_NT, scores_NTS = brute_force(jax.random.key(0), HALF, 2, n, D, N, inputs)
    draws = jax.jit(
      lambda key: attention_limit.sample_finite(
        key, HALF, 2, num_samples=N, width=n, head_width=D, inputs=inputs
      )
    )(jax.random.key(1))
    for ours, theirs in (
      (draws.outputs[:, 0, 0], y_NT[:, 0]),
      (draws.outputs[:, :, 0].sum(1), y_NT.sum(1)),
      (draws.scores[:, 0, 0, 1], scores_NTS[:, 0, 1]),
      (draws.scores[:, 0].sum((1, 2)), scores_NTS.sum((1, 2))),
    ):
      gap = distances.kolmogorov_smirnov(ours, theirs)
      self.assertGreater(distances.kolmogorov_p_value(gap, N, N), 0.001)

  def test_scores_have_their_exact_moments(self):
    sample = jax.jit(
      lambda key, width: attention_limit.sample_finite(
        key, IDENTITY, 1, num_samples=2**16, width=width, inputs="gaussian"
      ).scores[:, 0]
    )
    for width in (16.0, 256.0):  # traced: one program for both
      scores_N = np.asarray(sample(jax.random.key(2), width))[:, 0, 0]
      variance, kurtosis = attention_moments.score_moments(int(width))
      error = variance * np.sqrt((kurtosis + 2) / 2**16)
      np.testing.assert_allclose(scores_N.var(), variance, atol=4 * error)

  def test_a_flax_layer_has_the_exact_law_of_its_inputs(self):
    T, E, H, N = 3, 48, 2, 1500
    x_TE = HALF @ jax.random.normal(jax.random.key(3), (T, E))
    layer = nn.MultiHeadDotProductAttention(H, out_features=E, use_bias=False)

    def one(key):
      init_key, key = jax.random.split(key)
      params = layer.init(init_key, x_TE, mask=CAUSAL[None])
      leaves, tree = jax.tree.flatten(params)
      keys = jax.random.split(key, len(leaves))
      normal = lambda key, w: jax.random.normal(key, w.shape) / np.sqrt(E)
      params = tree.unflatten(map(normal, keys, leaves))
      return layer.apply(params, x_TE, mask=CAUSAL[None])

    keys = jax.random.split(jax.random.key(4), N)
    y_NTE = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=50))(keys)
    draws = attention_limit.sample_finite(
      jax.random.key(5),
      attention_limit.gram(x_TE),
      H,
      num_samples=4 * N,
      width=E,
      head_width=E // H,
      mask_TS=CAUSAL,
    )
    gap = distances.kolmogorov_smirnov(y_NTE[:, -1, 0], draws.outputs[:, -1, 0])
    self.assertGreater(distances.kolmogorov_p_value(gap, N, 4 * N), 0.01)
    kernel_NTT = y_NTE @ y_NTE.swapaxes(1, 2) / E
    expected, error = attention_moments.estimate(draws.covariances)
    own = kernel_NTT.std(0) / np.sqrt(N)
    z_TT = (kernel_NTT.mean(0) - expected.kernel) / np.hypot(own, error.kernel)
    self.assertLess(np.abs(z_TT).max(), 4)


class LimitTest(chex.TestCase):
  def test_scores_have_the_covariance_sigma_times_sigma(self):
    N = 2**16
    draws = attention_limit.sample_limit(
      jax.random.key(0), HALF, 1, num_samples=N
    )
    scores_NK = np.asarray(draws.scores).reshape(N, -1)
    expected_KK = np.kron(HALF, HALF)
    found_KK = scores_NK.T @ scores_NK / N
    size_K = np.diag(expected_KK)
    error_KK = np.sqrt((np.outer(size_K, size_K) + expected_KK**2) / N)
    self.assertLess(np.abs((found_KK - expected_KK) / error_KK).max(), 4)

  def test_outputs_are_gaussian_given_the_scores_alone(self):
    N = 50_000
    draws = attention_limit.sample_limit(
      jax.random.key(1), IDENTITY, 1, num_samples=N
    )
    y_N = draws.outputs[:, 0, 0]
    weights_NS = jax.nn.softmax(draws.scores[:, 0, 0])
    given_N = y_N / jnp.linalg.norm(weights_NS, axis=1)
    gap = distances.kolmogorov_smirnov_to(given_N, jax.scipy.stats.norm.cdf)
    self.assertGreater(distances.kolmogorov_p_value(gap, N), 0.01)
    z = (jnp.mean(y_N**4) / jnp.mean(y_N**2) ** 2 - 3) / np.sqrt(24 / N)
    self.assertGreater(z, 7)

  def test_a_wide_layer_is_near_the_limit(self):
    draw = lambda fn, **kwargs: fn(
      jax.random.key(2), IDENTITY, 2, num_samples=2**15, **kwargs
    ).covariances[:, 0, 0]
    limit_N = draw(attention_limit.sample_limit)
    far, near = (
      attention_moments.mixture_wasserstein(
        draw(attention_limit.sample_finite, width=n, inputs="gaussian"),
        limit_N,
      )
      for n in (16, 4096)
    )
    self.assertAlmostEqual(float(far), 0.0407, delta=0.003)
    self.assertLess(near, 0.003)

  def test_coordinates_share_the_scores(self):
    draws = attention_limit.sample_limit(
      jax.random.key(3), IDENTITY, 1, num_samples=2**15, num_coordinates=2
    )
    y_NC = np.asarray(draws.outputs[:, 0])
    self.assertLess(abs(np.corrcoef(y_NC.T)[0, 1]), 0.02)
    # Var|A|^2 / Var(y^2) = .2433 / 3 / (2 + .2433): the same scores.
    self.assertAlmostEqual(
      np.corrcoef(y_NC.T**2)[0, 1], 0.2433 / 3 / 2.2433, delta=0.02
    )

  @parameterized.parameters(("linear", 4.0, 1.5), ("relu", 2.0, 3.75))
  def test_other_maps_have_their_closed_forms(self, phi, variance, kurtosis):
    draws = attention_limit.sample_limit(
      jax.random.key(4), IDENTITY, 1, phi, num_samples=2**16
    )
    value, error = attention_moments.estimate(draws.covariances)
    z = (value.kernel[0, 0] - variance) / error.kernel[0, 0]
    self.assertLess(abs(z), 4)
    self.assertLess(abs((value.kurtosis[0] - kurtosis) / error.kurtosis[0]), 4)

  def test_a_mask_hides_keys_from_every_map(self):
    for phi in attention_limit.PHIS:
      draws = attention_limit.sample_limit(
        jax.random.key(5), HALF, 1, phi, num_samples=8, mask_TS=CAUSAL
      )
      changed = attention_limit.sample_limit(
        jax.random.key(5),
        HALF,
        1,
        lambda p, mask, phi=phi: attention_limit.PHIS[phi](
          jnp.where(mask, p, 1e3), mask
        ),
        num_samples=8,
        mask_TS=CAUSAL,
      )
      np.testing.assert_array_equal(draws.outputs, changed.outputs)

  def test_a_singular_sigma_gives_equal_tokens_equal_outputs(self):
    draws = attention_limit.sample_limit(
      jax.random.key(6), np.ones((3, 3)), 2, num_samples=8
    )
    y_NT = draws.outputs[:, :, 0]
    np.testing.assert_allclose(y_NT, y_NT[:, :1].repeat(3, 1), atol=1e-5)


class PartsTest(chex.TestCase):
  def test_bartlett_has_the_law_of_the_product(self):
    b_NRR = attention_limit.bartlett(jax.random.key(0), 2**15, 3, 5)
    wishart_NRR = b_NRR @ b_NRR.swapaxes(1, 2)
    np.testing.assert_allclose(wishart_NRR.mean(0), 5 * np.eye(3), atol=0.1)
    # Var W_ii = 2 n, Var W_ij = n.
    expected = 5 * (1 + np.eye(3))
    np.testing.assert_allclose(wishart_NRR.var(0), expected, rtol=0.08)

  def test_the_gram_matrix_of_rectified_tokens_is_the_kernel(self):
    sigma_TS = attention_limit.rectified(IDENTITY)
    np.testing.assert_allclose(np.diag(sigma_TS), 0.5)
    self.assertAlmostEqual(sigma_TS[0, 1], 1 / (2 * np.pi))
    x_TE = jax.nn.relu(
      attention_limit.root(HALF)
      @ jax.random.normal(jax.random.key(1), (3, 2**17))
    )
    np.testing.assert_allclose(
      attention_limit.gram(x_TE), attention_limit.rectified(HALF), atol=0.01
    )


class ErrorTest(chex.TestCase):
  @parameterized.parameters(
    (
      {"sigma_TS": np.array([[1.0, 2.0], [2.0, 1.0]])},
      "smallest eigenvalue is -1",
    ),
    ({"sigma_TS": np.array([[1.0, 0.5], [0.0, 1.0]])}, "differ by 0.5"),
    ({"sigma_TS": np.array([[np.nan]])}, "not finite"),
    ({"sigma_TS": np.ones((2, 3))}, r"shape \(2, 3\), not \[s, s\]"),
    ({"num_heads": 0}, "num_heads=0 must be at least 1"),
    ({"num_samples": 0}, "num_samples=0"),
    ({"num_coordinates": 0}, "num_coordinates=0"),
    (
      {"phi": "softplus"},
      "phi='softplus' is not a function or one of .'linear",
    ),
    ({"mask_TS": np.array([[1, 0], [0, 0]])}, "query 1 sees no key"),
  )
  def test_bad_input_is_named(self, kwargs, message):
    kwargs = {"sigma_TS": np.eye(2), "num_heads": 1, "num_samples": 2} | kwargs
    with self.assertRaisesRegex(ValueError, message):
      attention_limit.sample_limit(jax.random.key(0), **kwargs)

  @parameterized.parameters(
    ({"width": 0}, "width=0 must be at least 1"),
    ({"width": 4, "head_width": 0}, "head_width=0"),
    ({"width": 4, "inputs": "uniform"}, "inputs='uniform' is not one of"),
  )
  def test_bad_settings_of_a_finite_layer_are_named(self, kwargs, message):
    with self.assertRaisesRegex(ValueError, message):
      attention_limit.sample_finite(
        jax.random.key(0), np.eye(2), 1, num_samples=2, **kwargs
      )

  def test_bartlett_needs_more_columns_than_rows(self):
    with self.assertRaisesRegex(ValueError, "columns=3 must be above rows=3"):
      attention_limit.bartlett(jax.random.key(0), 2, 3, 3)


if __name__ == "__main__":
  absltest.main()
