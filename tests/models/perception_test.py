"""Tests for simplex/models/perception.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import perception


def convolution(kernel_KIO, x_BYXC, size, dilation):
  """The same by XLA."""
  kernel_yxIO = kernel_KIO.reshape(size, size, *kernel_KIO.shape[1:])
  return jax.lax.conv_general_dilated(
    x_BYXC,
    kernel_yxIO,
    window_strides=(1, 1),
    padding="SAME",
    rhs_dilation=(dilation, dilation),
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
  )


def by_shifts(kernel_KIO, x_BYXC, size, dilation):
  B, Y, X, _ = x_BYXC.shape
  reach = size // 2 * dilation
  layout = perception.Layout((B,), Y, X, reach, torus=False)
  out_ON = perception.convolve(
    kernel_KIO, layout.flatten(x_BYXC), layout.offsets(size, (dilation,))
  )
  return layout.unflatten(out_ON)


class PerceptionTest(chex.TestCase):
  @parameterized.parameters((3, 1), (3, 2), (5, 1), (1, 1))
  def test_values_and_gradients_are_those_of_a_convolution(
    self, size, dilation
  ):
    keys = jax.random.split(jax.random.key(0), 3)
    kernel_KIO = jax.random.normal(keys[0], (size**2, 3, 4))
    x_BYXC = jax.random.normal(keys[1], (2, 5, 7, 3))
    weights = jax.random.normal(keys[2], (2, 5, 7, 4))

    def value_and_gradient(fn):
      total = lambda *args: jnp.sum(fn(*args, size, dilation) * weights)
      return jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(
        kernel_KIO, x_BYXC
      )

    chex.assert_trees_all_close(
      value_and_gradient(by_shifts), value_and_gradient(convolution), atol=1e-4
    )

  def test_kernels_that_differ_become_no_grouped_convolution(self):
    kernels = jnp.ones((6, 9, 3, 4))
    x = jnp.ones((6, 2, 5, 7, 3))
    total = lambda kernel, x: jnp.sum(by_shifts(kernel, x, 3, 1))
    fn = jax.vmap(jax.grad(total, argnums=(0, 1)))
    chex.assert_tree_shape_prefix(jax.eval_shape(fn, kernels, x), (6,))
    self.assertNotIn("conv_general", str(jax.make_jaxpr(fn)(kernels, x)))

  def test_grids_lie_flat_and_come_back(self):
    x_YXC = jax.random.normal(jax.random.key(0), (2, 3, 4, 5, 6))
    for torus in (False, True):
      layout = perception.Layout((2, 3), 4, 5, 2, torus)
      np.testing.assert_array_equal(
        layout.unflatten(layout.flatten(x_YXC)), x_YXC
      )

  def test_a_torus_sees_the_opposite_side(self):
    x_YXC = jnp.arange(12.0).reshape(3, 4, 1)
    layout = perception.Layout((), 3, 4, 1, torus=True)
    closed = layout.close(layout.flatten(x_YXC))
    near = layout.offsets(3, (1,))
    for seen, (y, x) in zip(
      perception.shifted(closed, near), np.ndindex(3, 3), strict=True
    ):
      rolled = jnp.roll(x_YXC, (1 - y, 1 - x), axis=(0, 1))
      np.testing.assert_array_equal(layout.unflatten(seen), rolled)

  def test_filters_measure_value_slope_and_curvature(self):
    y, x = np.mgrid[:5, :6].astype(np.float32)
    layout = perception.Layout((), 5, 6, 1, torus=False)
    near = layout.offsets(3, (1,))
    names = ("identity", "sobel_x", "sobel_y", "laplacian")
    see = functools.partial(perception.filtered, names=names, offsets=near)
    field = 2 * x + 3 * y + x**2
    seen = layout.unflatten(see(layout.flatten(field[..., None])))
    np.testing.assert_allclose(
      seen[2, 3], [field[2, 3], 2 + 2 * 3, 3, 0.5], atol=1e-5
    )

  def test_the_largest_near_is_that_of_nine(self):
    x_YX = jnp.zeros((5, 6)).at[2, 3].set(1.0)
    layout = perception.Layout((), 5, 6, 1, torus=False)
    largest = perception.largest_near(
      layout.flatten(x_YX[..., None])[0], layout.offsets(3, (1,))
    )
    expected = jnp.zeros((5, 6)).at[1:4, 2:5].set(1.0)
    np.testing.assert_array_equal(
      layout.unflatten(largest[None])[..., 0], expected
    )


if __name__ == "__main__":
  absltest.main()
