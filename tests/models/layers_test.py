"""Tests for simplex/models/layers.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.models import layers


class RotaryTest(chex.TestCase):
  @parameterized.parameters(8, 7, 1)
  def test_products_depend_on_distances_only(self, D):
    q_key, k_key = jax.random.split(jax.random.key(0))
    q_BTHD = jax.random.normal(q_key, (2, 5, 3, D))
    k_BTHD = jax.random.normal(k_key, (2, 5, 3, D))

    def products(offset):
      positions_BT = offset + jnp.arange(5)[None]
      q, k = (layers.rotary(x, positions_BT) for x in (q_BTHD, k_BTHD))
      return jnp.einsum("BTHD,BSHD->BHTS", q, k)

    chex.assert_trees_all_close(products(0), products(100), atol=1e-4)

  def test_lengths_are_kept_and_position_zero_is_still(self):
    x_BTHD = jax.random.normal(jax.random.key(0), (1, 4, 2, 6))
    y_BTHD = layers.rotary(x_BTHD, jnp.arange(4)[None])
    chex.assert_trees_all_close(y_BTHD[:, 0], x_BTHD[:, 0])
    norm = lambda x: jnp.linalg.norm(x, axis=-1)
    chex.assert_trees_all_close(norm(y_BTHD), norm(x_BTHD), rtol=1e-5)

  def test_first_pair_turns_by_the_position_in_radians(self):
    x_BTHD = jnp.zeros((1, 1, 1, 4)).at[..., 0].set(1)
    y_BTHD = layers.rotary(x_BTHD, jnp.array([[2]]))
    expected = jnp.array([jnp.cos(2.0), 0, jnp.sin(2.0), 0])
    chex.assert_trees_all_close(y_BTHD[0, 0, 0], expected, atol=1e-6)


class StretchedTest(chex.TestCase):
  def test_only_what_turns_seldom_is_slower(self):
    """Waves of 2, 20 and 200 positions in a text of 40."""
    wave_D = jnp.array([2.0, 20.0, 200.0])
    frequency_D = 2 * jnp.pi / wave_D
    slow_D = layers.stretched(frequency_D, 8.0, 1.0, 4.0, 40.0)
    # The second turns 2 times: of 1 to 4, a third is kept.
    kept_D = jnp.array([1.0, 1 / 3, 0.0])
    expected = frequency_D * (kept_D + (1 - kept_D) / 8)
    chex.assert_trees_all_close(slow_D, expected, rtol=1e-5)

  def test_without_a_length_positions_are_divided(self):
    x_BTHD = jax.random.normal(jax.random.key(0), (1, 4, 2, 6))
    at_BT = 4 * jnp.arange(4)[None]
    chex.assert_trees_all_close(
      layers.rotary(x_BTHD, at_BT, stretch=(4.0, 0.0, 1.0, 0.0)),
      layers.rotary(x_BTHD, at_BT / 4),
      atol=1e-6,
    )


class FeedForwardTest(chex.TestCase):
  def test_relu_is_its_equation(self):
    x_BTE = jax.random.normal(jax.random.key(0), (2, 3, 4))
    layer = layers.FeedForward(8, activation="relu")
    params = layer.init(jax.random.key(1), x_BTE)
    up_EF, down_FE = (params["params"][n]["kernel"] for n in ("up", "down"))
    expected = jnp.maximum(x_BTE @ up_EF, 0) @ down_FE
    chex.assert_trees_all_close(layer.apply(params, x_BTE), expected, atol=1e-5)

  @parameterized.parameters("gelu", "swiglu")
  def test_the_named_layers_have_biases(self, activation):
    names = layers.projections(activation)
    layer = layers.FeedForward(8, activation=activation, biases=names[1:])
    params = layer.init(jax.random.key(1), jnp.ones((1, 1, 4)))["params"]
    self.assertCountEqual(params, names)
    biased = [name for name in names if "bias" in params[name]]
    self.assertEqual(biased, list(names[1:]))

  @parameterized.parameters(
    (768, 2048, 1792), (1024, 2816, 2560), (1536, 4096, 3584)
  )
  def test_gated_widths_are_those_of_fox(self, width, llama, pro):
    self.assertEqual(layers.gated_width(width, 4), llama)
    self.assertEqual(layers.gated_width(width, 3.5), pro)

  def test_a_gate_of_zero_closes_swiglu(self):
    x_BTE = jax.random.normal(jax.random.key(0), (2, 3, 4))
    layer = layers.FeedForward(8, activation="swiglu")
    params = layer.init(jax.random.key(1), x_BTE)["params"]
    params["gate"] = jax.tree.map(jnp.zeros_like, params["gate"])
    y_BTE = layer.apply({"params": params}, x_BTE)
    chex.assert_trees_all_equal(y_BTE, jnp.zeros_like(x_BTE))


if __name__ == "__main__":
  absltest.main()
