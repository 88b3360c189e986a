"""Tests for simplex/analysis/softmax_rank.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from simplex.analysis import softmax_rank, spectra

RNG = np.random.default_rng(0)


def mlp(kernels, x):
  for kernel in kernels[:-1]:
    x = jax.nn.relu(x @ kernel)
  return x @ kernels[-1]


def trained(tx, temperature, kernels, x_NE, labels_N, steps):
  """Logits over temperature after steps of the whole batch."""

  def loss(kernels):
    logits_NK = mlp(kernels, x_NE) / temperature
    return optax.softmax_cross_entropy_with_integer_labels(
      logits_NK, labels_N
    ).mean()

  def step(state, _):
    kernels, opt_state = state
    updates, opt_state = tx.update(jax.grad(loss)(kernels), opt_state)
    return (optax.apply_updates(kernels, updates), opt_state), None

  state = (kernels, tx.init(kernels))
  kernels = jax.lax.scan(step, state, length=steps)[0][0]
  return mlp(kernels, x_NE) / temperature


class RescalingTest(chex.TestCase):
  @parameterized.parameters("sgd", "momentum", "adam")
  def test_a_temperature_is_a_size_of_the_initial_kernels(self, name):
    temperature, L = 50.0, 4
    same = softmax_rank.rescaling(temperature, L)
    make = {
      "sgd": lambda scale, epsilon: optax.sgd(1.0 * scale.sgd),
      "momentum": lambda scale, epsilon: optax.sgd(0.3 * scale.sgd, 0.9),
      "adam": lambda scale, epsilon: optax.adam(
        1e-2 * scale.adam, eps=1e-3 * scale.adam_epsilon
      ),
    }[name]
    one = softmax_rank.rescaling(1.0, L)
    with jax.enable_x64(True):
      x_NE = jnp.asarray(RNG.normal(size=(20, 5)))
      labels_N = jnp.asarray(RNG.integers(0, 4, 20))
      sizes = [5, 8, 8, 8, 4]
      kernels = [
        jnp.asarray(RNG.normal(size=s) * (2 / s[0]) ** 0.5)
        for s in zip(sizes[:-1], sizes[1:], strict=True)
      ]
      small = [kernel * same.kernels for kernel in kernels]
      data = (x_NE, labels_N, 200)
      hot = trained(make(one, 0), temperature, kernels, *data)
      cold = trained(make(same, 0), 1.0, small, *data)
      start = mlp(kernels, x_NE) / temperature
      self.assertGreater(jnp.abs(hot - start).max(), 0.1)
      self.assertLess(jnp.abs(hot - cold).max(), 1e-10)

  def test_ranks_of_gradients_are_at_most_those_of_activations(self):
    # Three inputs: activations of rank 3 or less, and kernels of rank 8.
    x_NE = RNG.normal(size=(3, 8)).astype(np.float32)
    kernels = [RNG.normal(size=(8, 8)).astype(np.float32) for _ in range(3)]
    loss = lambda kernels: jnp.sum(jax.nn.logsumexp(mlp(kernels, x_NE), 1))
    for grad_EF in jax.grad(loss)(kernels):
      s_K = spectra.spectrum(grad_EF)
      self.assertLessEqual(spectra.numerical_rank(s_K, 1e-5), 3)

  @parameterized.parameters(
    (0.0, 3, "temperature=0.0 must be above 0"),
    (1.0, 0, "num_kernels=0 must be at least 1"),
  )
  def test_what_cannot_be_rescaled_is_an_error(self, t, kernels, message):
    with self.assertRaisesRegex(ValueError, message):
      softmax_rank.rescaling(t, kernels)


class SoftmaxTest(chex.TestCase):
  def test_logits_of_rank_2_give_any_labels(self):
    labels_N = RNG.integers(0, 100, 300)
    logits_NK = softmax_rank.rank_two_logits(labels_N, 100)
    np.testing.assert_array_equal(jnp.argmax(logits_NK, axis=1), labels_N)
    s_K = spectra.spectrum(logits_NK)
    self.assertEqual(spectra.numerical_rank(s_K, 1e-5), 2)
    second_N = jnp.sort(logits_NK, axis=1)[:, -2]
    np.testing.assert_allclose(second_N, np.cos(2 * np.pi / 100), atol=1e-5)

  def test_their_softmax_has_the_ranks_of_bessel_functions(self):
    # softmax(s cos) is circulant: its spectrum is I_k(s), each k > 0 twice.
    logits_NK = softmax_rank.rank_two_logits(np.arange(100), 100)
    scales_S = np.array([1e-4, 0.1, 1.0, 10.0])
    ranks_S = softmax_rank.softmax_ranks(logits_NK, scales_S)
    orders = np.abs(np.arange(-49, 50))
    ratios = special.ive(orders, scales_S[:, None])
    ratios /= special.ive(0, scales_S[:, None])
    np.testing.assert_array_equal(ranks_S, (ratios > 1e-3).sum(1))

  def test_softmax_of_small_logits_is_linear_in_them(self):
    Z = RNG.normal(size=(60, 3)) @ RNG.normal(size=(3, 20))
    epsilon, K = 1e-4, 20
    s_K = spectra.spectrum(jax.nn.softmax(jnp.asarray(epsilon * Z)))
    linear = 1 / K + epsilon / K * (Z - Z.mean(1, keepdims=True))
    expected = np.linalg.svd(linear, compute_uv=False)
    np.testing.assert_allclose(s_K[:4], expected[:4], rtol=5e-3)
    self.assertLess(s_K[4], 1e-2 * s_K[3])

  def test_the_rank_of_softmax_rises_and_falls_with_the_scale(self):
    Z = RNG.normal(size=(300, 2)) @ RNG.normal(size=(2, 50))
    scales_S = np.array([0.01, 0.3, 3.0, 1000.0])
    low, some, peak, high = softmax_rank.softmax_ranks(
      Z, scales_S, threshold=1e-2
    )
    self.assertLessEqual(low, 3)
    self.assertLess(low, some)
    self.assertLess(some, peak)
    self.assertGreater(peak, high)

  def test_logits_without_a_rank_are_errors(self):
    with self.assertRaisesRegex(ValueError, "logits .* not finite"):
      softmax_rank.softmax_ranks(np.full((2, 2), np.inf), np.ones(1))
    with self.assertRaisesRegex(ValueError, "num_classes=1 must be at least 2"):
      softmax_rank.rank_two_logits(np.zeros(3, int), 1)


class NeuralCollapseTest(chex.TestCase):
  def test_a_simplex_with_its_own_head_is_collapsed(self):
    K = 4
    simplex_KE = np.eye(K) - 1 / K
    labels_N = np.tile(np.arange(K), 5)
    found = softmax_rank.neural_collapse(
      simplex_KE[labels_N] + 0.7, labels_N, 3 * simplex_KE.T
    )
    np.testing.assert_allclose(found, np.zeros(5), atol=1e-5)

  def test_each_metric_sees_its_own_departure(self):
    K = 3
    simplex_KE = np.eye(K) - 1 / K
    labels_N = np.tile(np.arange(K), 40)
    noise = RNG.normal(size=(120, K))
    loose = softmax_rank.neural_collapse(
      simplex_KE[labels_N] + 0.1 * noise, labels_N, simplex_KE.T
    )
    self.assertGreater(loose.nc1, 1e-2)
    stretched_KE = simplex_KE * [3.0, 1, 1]
    uneven = softmax_rank.neural_collapse(
      stretched_KE[labels_N], labels_N, -stretched_KE.T
    )
    self.assertLess(uneven.nc1, 1e-6)
    self.assertGreater(uneven.nc2_norm, 0.1)
    self.assertGreater(uneven.nc2_angle, 0.1)
    # A head that points away from the means, of norm 1 each.
    self.assertAlmostEqual(float(uneven.nc3), 4.0, places=4)
    self.assertGreater(uneven.nc4, 0.9)

  def test_nc1_is_the_trace_of_its_definition(self):
    labels_N = np.tile(np.arange(3), 20)
    x_NE = RNG.normal(size=(60, 4)) + 3 * np.eye(3, 4)[labels_N]
    mean_KE = np.stack([x_NE[labels_N == k].mean(0) for k in range(3)])
    within = (x_NE - mean_KE[labels_N]).T @ (x_NE - mean_KE[labels_N]) / 60
    away = mean_KE - x_NE.mean(0)
    between = np.linalg.pinv(away.T @ away / 3, rcond=1e-10)
    found = softmax_rank.neural_collapse(x_NE, labels_N, np.ones((4, 3)))
    self.assertAlmostEqual(
      float(found.nc1), np.trace(within @ between) / 3, places=4
    )

  def test_features_that_are_not_finite_are_errors(self):
    with self.assertRaisesRegex(ValueError, "features .* not finite"):
      softmax_rank.neural_collapse(
        np.full((2, 2), np.nan), np.array([0, 1]), np.ones((2, 2))
      )


class LinearProbeTest(chex.TestCase):
  def test_it_reads_separable_classes_and_guesses_without_information(self):
    labels_N = np.arange(200) % 4
    x_NE = 5 * np.eye(4, 6)[labels_N] + RNG.normal(size=(200, 6))
    x_NE[:, 5] = 2.0  # a dead unit
    halves = (x_NE[:100], labels_N[:100], x_NE[100:], labels_N[100:])
    probe = softmax_rank.linear_probe
    self.assertGreater(probe(*halves, num_classes=4), 0.97)
    blind = probe(np.ones((9, 6)), np.arange(9) % 4, *halves[2:], num_classes=4)
    self.assertEqual(blind, 0.25)

  def test_it_is_ridge_regression(self):
    x_NE = RNG.normal(size=(50, 3)).astype(np.float32)
    labels_N = RNG.integers(0, 3, 50)
    standard = (x_NE - x_NE.mean(0)) / x_NE.std(0)
    target = np.eye(3)[labels_N]
    gram = standard.T @ standard + 50 * 0.5 * np.eye(3)
    kernel = np.linalg.solve(gram, standard.T @ target)
    scores = standard @ kernel + target.mean(0)
    accuracy = softmax_rank.linear_probe(
      x_NE, labels_N, x_NE, labels_N, num_classes=3, ridge=0.5
    )
    expected = np.mean(scores.argmax(1) == labels_N)
    self.assertAlmostEqual(float(accuracy), expected, places=6)


if __name__ == "__main__":
  absltest.main()
