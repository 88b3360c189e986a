"""Tests for simplex/sampling/directions.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.sampling import directions
from tests.sampling import bigrams

TREE = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
TOKENS_BT = jax.random.randint(jax.random.key(2), (12, 4), 0, bigrams.V)


def total(params, batch):
  """Summed loss of bigrams, and how many count."""
  log_probs_BTV = jax.nn.log_softmax(params["table"][batch["tokens"][:, :-1]])
  picked = jnp.take_along_axis(
    log_probs_BTV, batch["tokens"][:, 1:, None], axis=-1
  )
  return -jnp.sum(picked[..., 0] * batch["mask"]), batch["mask"].sum()


def log_probs(params):
  return jax.nn.log_softmax(params["table"])


def gradient(num_batches):
  # Texts of very unequal length.
  mask_BT = jnp.arange(3) < jnp.repeat(jnp.array([1, 3]), 6)[:, None]
  shape = (num_batches, 12 // num_batches)
  batches = {
    "tokens": TOKENS_BT.reshape(*shape, 4),
    "mask": mask_BT.astype(jnp.float32).reshape(*shape, 3),
  }
  return jax.jit(directions.mean_gradient, static_argnums=0)(
    total, bigrams.PARAMS, batches
  )


class GradientTest(chex.TestCase):
  @parameterized.parameters(2, 6, 12)
  def test_the_split_into_batches_does_not_matter(self, num_batches):
    chex.assert_trees_all_close(gradient(num_batches), gradient(1), rtol=1e-5)

  def test_the_loss_rises_along_it_and_falls_against_it(self):
    loss, g = gradient(1)
    mask = jnp.arange(3) < jnp.repeat(jnp.array([1, 3]), 6)[:, None]
    batch = {"tokens": TOKENS_BT, "mask": mask.astype(jnp.float32)}
    at = lambda epsilon: (
      total(directions.moved(bigrams.PARAMS, g, epsilon), batch)[0]
      / batch["mask"].sum()
    )
    np.testing.assert_allclose(at(0.0), loss, rtol=1e-5)
    self.assertGreater(at(0.1), loss)
    self.assertLess(at(-0.1), loss)

  def test_a_direction_is_as_long_as_all_its_leaves(self):
    self.assertEqual(directions.norm(TREE), 5)
    unit = directions.normalized(TREE)
    self.assertAlmostEqual(float(directions.norm(unit)), 1, places=6)
    chex.assert_trees_all_close(unit["b"], jnp.array([[0.8]]))

  def test_a_random_direction_has_the_length_of_each_leaf(self):
    tree = {"a": jnp.arange(4.0), "b": jnp.ones((3, 2)), "c": jnp.zeros(2)}
    noise = directions.random_like(jax.random.key(0), tree)
    for name, leaf in tree.items():
      np.testing.assert_allclose(
        jnp.linalg.norm(noise[name]), jnp.linalg.norm(leaf), rtol=1e-6
      )
    self.assertGreater(float(jnp.abs(noise["a"] - tree["a"]).max()), 0.1)


class DerivativeTest(chex.TestCase):
  def test_it_is_the_closed_form(self):
    _, delta_VV = directions.derivative(
      log_probs, bigrams.PARAMS, bigrams.DIRECTION
    )
    expected_VV = bigrams.derivative(jnp.arange(bigrams.V))
    chex.assert_trees_all_close(delta_VV, expected_VV, atol=1e-6)

  def test_its_mean_under_the_model_is_zero(self):
    log_probs_VV, delta_VV = directions.derivative(
      log_probs, bigrams.PARAMS, bigrams.DIRECTION
    )
    means_V = jnp.sum(jnp.exp(log_probs_VV) * delta_VV, axis=-1)
    np.testing.assert_allclose(means_V, 0, atol=1e-6)

  def test_a_gradient_by_hand_is_refused_with_the_way_out(self):
    by_hand = jax.custom_vjp(lambda x: 2 * x)
    by_hand.defvjp(lambda x: (2 * x, ()), lambda _, d_y: (2 * d_y,))
    fn = lambda params: jax.lax.map(jax.jit(by_hand), params["table"])
    with self.assertRaisesRegex(
      NotImplementedError, "implementation='reference', or use finite"
    ):
      directions.derivative(fn, bigrams.PARAMS, bigrams.DIRECTION)

  def test_a_difference_is_within_one_per_cent_at_the_calibrated_step(self):
    _, exact = directions.derivative(
      log_probs, bigrams.PARAMS, bigrams.DIRECTION
    )
    found = directions.calibrate(
      exact,
      log_probs,
      bigrams.PARAMS,
      bigrams.DIRECTION,
      jnp.array([1e-6, 1e-2, 3.0]),
    )
    self.assertAlmostEqual(float(found.epsilon), 1e-2)
    self.assertLess(float(found.errors_N.min()), 1e-3)
    # Rounding on one side, curvature on the other: a V.
    self.assertGreater(float(found.errors_N[0]), 0.01)
    self.assertGreater(float(found.errors_N[2]), 0.1)

  def test_fewer_digits_need_a_larger_step(self):
    _, exact = directions.derivative(
      log_probs, bigrams.PARAMS, bigrams.DIRECTION
    )
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), bigrams.PARAMS)
    steps = jnp.logspace(-4, 0.5, 10)
    calibrate = lambda params: directions.calibrate(
      exact, log_probs, params, bigrams.DIRECTION, steps
    )
    self.assertGreater(
      float(calibrate(half).epsilon), float(calibrate(bigrams.PARAMS).epsilon)
    )

  @parameterized.parameters(0.0, 1e-5, 0.3)
  def test_the_sine_of_an_angle_is_resolved(self, angle):
    x = jnp.array([2.0, 0.0])
    y = 3 * jnp.array([jnp.cos(angle), jnp.sin(angle)])
    np.testing.assert_allclose(
      directions.sine(x, y), np.sin(angle), rtol=1e-3, atol=1e-7
    )

  def test_nothing_has_no_angle(self):
    self.assertEqual(directions.sine(jnp.zeros(2), jnp.ones(2)), 1)


class WeightTest(chex.TestCase):
  def test_lambda_times_delta_has_so_many_nats(self):
    delta_NV = jnp.linspace(-1, 1, 200).reshape(40, 5)
    weight = directions.weight_of_nats(8.0, delta_NV, share=0.5)
    self.assertAlmostEqual(
      float(jnp.median(jnp.abs(weight * delta_NV))), 8, places=4
    )

  def test_a_mask_leaves_positions_out(self):
    delta_NV = jnp.array([[1.0, -2.0], [100.0, 5.0]])
    weight = directions.weight_of_nats(
      4.0, delta_NV, mask_N=jnp.array([True, False]), share=1.0
    )
    self.assertEqual(weight, 2)

  def test_a_share_beyond_all_is_refused(self):
    with self.assertRaisesRegex(ValueError, r"share=0 is not in \(0, 1\]"):
      directions.weight_of_nats(1.0, jnp.ones((1, 2)), share=0)


if __name__ == "__main__":
  absltest.main()
