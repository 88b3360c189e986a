"""Tests for simplex/models/perception.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import perception


def convolution(kernel_yxCP, x_BYXC, dilation):
  """The same by XLA."""
  return jax.lax.conv_general_dilated(
    x_BYXC,
    kernel_yxCP,
    window_strides=(1, 1),
    padding="SAME",
    rhs_dilation=(dilation, dilation),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def by_products(kernel_yxCP, x_BYXC, dilation):
  B, Y, X, _ = x_BYXC.shape
  layout = perception.Layout(B, Y, X, torus=False)
  out_PN = perception.convolve(
    kernel_yxCP, layout.flatten(x_BYXC), layout, dilation
  )
  return layout.unflatten(out_PN)


class PerceptionTest(chex.TestCase):
  @parameterized.parameters(
    ((3, 3), 1), ((3, 3), 2), ((5, 5), 1), ((1, 1), 1), ((1, 3), 2), ((3, 1), 1)
  )
  def test_values_and_gradients_are_those_of_a_convolution(
    self, size, dilation
  ):
    keys = jax.random.split(jax.random.key(0), 3)
    kernel_yxCP = jax.random.normal(keys[0], (*size, 3, 4))
    x_BYXC = jax.random.normal(keys[1], (2, 5, 7, 3))
    weights = jax.random.normal(keys[2], (2, 5, 7, 4))

    def value_and_gradient(fn):
      total = lambda *args: jnp.sum(fn(*args, dilation) * weights)
      return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(
        kernel_yxCP, x_BYXC
      )

    chex.assert_trees_all_close(
      value_and_gradient(by_products),
      value_and_gradient(convolution),
      atol=1e-4,
    )

  def test_kernels_that_differ_become_no_grouped_convolution(self):
    kernels = jnp.ones((6, 3, 3, 3, 4))
    x = jnp.ones((6, 2, 5, 7, 3))
    total = lambda kernel, x: jnp.sum(by_products(kernel, x, 1))
    fn = jax.vmap(jax.grad(total, argnums=(0, 1)))
    chex.assert_tree_shape_prefix(jax.eval_shape(fn, kernels, x), (6,))
    self.assertNotIn("conv_general", str(jax.make_jaxpr(fn)(kernels, x)))

  def test_grids_lie_flat_and_come_back(self):
    x_BYXC = jax.random.normal(jax.random.key(0), (3, 4, 5, 6))
    layout = perception.Layout(3, 4, 5, torus=False)
    x_CN = layout.flatten(x_BYXC)
    np.testing.assert_array_equal(layout.unflatten(x_CN), x_BYXC)
    two = layout.unflatten(jnp.stack([x_CN, -x_CN]))
    np.testing.assert_array_equal(two, jnp.stack([x_BYXC, -x_BYXC]))

  @parameterized.parameters(1, 2, 7)
  def test_a_torus_sees_the_opposite_side(self, dilation):
    x_BYXC = jnp.arange(24.0).reshape(2, 3, 4, 1)
    layout = perception.Layout(2, 3, 4, torus=True)
    for y, x in np.ndindex(3, 3):
      kernel = jnp.zeros((3, 3, 1, 1)).at[y, x].set(1.0)
      seen = perception.convolve(
        kernel, layout.flatten(x_BYXC), layout, dilation
      )
      shift = dilation * (1 - y), dilation * (1 - x)
      rolled = jnp.roll(x_BYXC, shift, axis=(1, 2))
      np.testing.assert_array_equal(layout.unflatten(seen), rolled)

  def test_gradients_go_around_a_torus(self):
    keys = jax.random.split(jax.random.key(0), 3)
    layout = perception.Layout(2, 3, 4, torus=True)
    kernel = jax.random.normal(keys[0], (3, 3, 2, 1))
    x = jax.random.normal(keys[1], (2, layout.size))
    weights = jax.random.normal(keys[2], (1, layout.size))

    def padded(kernel, x):
      wrap = ((0, 0), (1, 1), (1, 1), (0, 0))
      x_BYXC = jnp.pad(layout.unflatten(x), wrap, mode="wrap")
      out = convolution(kernel, x_BYXC, 1)[:, 1:-1, 1:-1]
      return layout.flatten(out)

    flat = lambda kernel, x: perception.convolve(kernel, x, layout)
    slopes = lambda fn: jax.grad(
      lambda *args: jnp.sum(fn(*args) * weights), argnums=(0, 1)
    )(kernel, x)
    chex.assert_trees_all_close(slopes(flat), slopes(padded), atol=1e-5)

  def test_filters_measure_value_slope_and_curvature(self):
    y, x = np.mgrid[:5, :6].astype(np.float32)
    layout = perception.Layout(1, 5, 6, torus=False)
    names = ("identity", "sobel_x", "sobel_y", "laplacian")
    field = 2 * x + 3 * y + x**2
    field_CN = layout.flatten(field[None, ..., None])
    seen = layout.unflatten(perception.filtered(field_CN, names, layout))[0]
    np.testing.assert_allclose(
      seen[2, 3], [field[2, 3], 2 + 2 * 3, 3, 0.5], atol=1e-5
    )

  def test_the_largest_is_that_of_nine(self):
    x_YX = jnp.zeros((5, 6)).at[2, 3].set(1.0)
    layout = perception.Layout(1, 5, 6, torus=False)
    largest = perception.largest(
      layout.flatten(x_YX[None, ..., None])[0], layout
    )
    expected = jnp.zeros((5, 6)).at[1:4, 2:5].set(1.0)
    np.testing.assert_array_equal(
      layout.unflatten(largest[None])[0, ..., 0], expected
    )


if __name__ == "__main__":
  absltest.main()
