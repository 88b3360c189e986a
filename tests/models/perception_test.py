"""Tests for simplex/models/perception.py."""

import functools

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
  size = kernel_yxCP.shape[:2]
  reach = tuple(n // 2 * dilation for n in size)
  layout = perception.Layout((B,), Y, X, reach, torus=False)
  out_PN = perception.convolve(
    kernel_yxCP, layout.flatten(x_BYXC), layout.near(size, dilation)
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
    x_YXC = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 6))
    for torus in (False, True):
      layout = perception.Layout((2, 3), 4, 5, (2, 1), torus)
      np.testing.assert_array_equal(
        layout.unflatten(layout.flatten(x_YXC)), x_YXC
      )

  def test_a_torus_sees_the_opposite_side(self):
    x_YXC = jnp.arange(12.0).reshape(3, 4, 1)
    layout = perception.Layout((), 3, 4, (1, 1), torus=True)
    closed = layout.close(layout.flatten(x_YXC))
    near = layout.near((3, 3))
    for y, x in np.ndindex(3, 3):
      (seen,) = perception.shifted(closed, [near[0][y] + near[1][x]])
      rolled = jnp.roll(x_YXC, (1 - y, 1 - x), axis=(0, 1))
      np.testing.assert_array_equal(layout.unflatten(seen), rolled)

  def test_filters_measure_value_slope_and_curvature(self):
    y, x = np.mgrid[:5, :6].astype(np.float32)
    layout = perception.Layout((), 5, 6, (1, 1), torus=False)
    near = layout.near((3, 3))
    names = ("identity", "sobel_x", "sobel_y", "laplacian")
    see = functools.partial(perception.filtered, names=names, near=near)
    field = 2 * x + 3 * y + x**2
    seen = layout.unflatten(see(layout.flatten(field[..., None])))
    np.testing.assert_allclose(
      seen[2, 3], [field[2, 3], 2 + 2 * 3, 3, 0.5], atol=1e-5
    )

  def test_the_largest_is_that_of_nine(self):
    x_YX = jnp.zeros((5, 6)).at[2, 3].set(1.0)
    layout = perception.Layout((), 5, 6, (1, 1), torus=False)
    largest = perception.largest(
      layout.flatten(x_YX[..., None])[0], layout.near((3, 3))
    )
    expected = jnp.zeros((5, 6)).at[1:4, 2:5].set(1.0)
    np.testing.assert_array_equal(
      layout.unflatten(largest[None])[..., 0], expected
    )


if __name__ == "__main__":
  absltest.main()
