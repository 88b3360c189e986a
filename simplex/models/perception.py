"""What a cell sees: sums of shifted products on grids laid out flat.

A batch of grids is one array `[C, N]`: channels first, so that sums over
channels run along whole rows of cells; then rows, grids and columns, so that
the rows above are one shift for all grids, and the cells to the left are a
shift and a mask. No room is lost between grids.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.types import Array

# Rows are y, columns x; Sobel filters and Laplacian as in Mordvintsev et al.
# 2020 (https://distill.pub/2020/growing-ca).
FILTERS = {
  "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
  "sobel_x": ((-0.125, 0, 0.125), (-0.25, 0, 0.25), (-0.125, 0, 0.125)),
  "sobel_y": ((-0.125, -0.25, -0.125), (0, 0, 0), (0.125, 0.25, 0.125)),
  "laplacian": (
    (0.0625, 0.125, 0.0625),
    (0.125, -0.75, 0.125),
    (0.0625, 0.125, 0.0625),
  ),
}


class Layout(NamedTuple):
  """Where the cells of a batch of grids stand in a flat array.

  Attributes:
    batch: B, how many grids.
    rows: Y.
    columns: X.
    torus: whether opposite borders are neighbours; else all is 0 outside.
  """

  batch: int
  rows: int
  columns: int
  torus: bool

  @property
  def size(self) -> int:
    """N, the number of cells."""
    return self.batch * self.rows * self.columns

  def flatten(self, x_BYXC: Array) -> Array:
    """`[B, Y, X, C]` to `[C, N]`."""
    return x_BYXC.transpose(3, 1, 0, 2).reshape(-1, self.size)

  def unflatten(self, x_CN: Array) -> Array:
    """`[..., C, N]` to `[..., B, Y, X, C]`."""
    shape = self.rows, self.batch, self.columns
    x_CYBX = x_CN.reshape(*x_CN.shape[:-1], *shape)
    return jnp.moveaxis(x_CYBX, (-2, -3, -1, -4), (-4, -3, -2, -1))

  def widen(self, x_CN: Array, columns: Sequence[int]) -> Array:
    """With room at both ends for `across` to look so many columns away."""
    guard = self._guard(columns)
    return jnp.pad(x_CN, ((0, 0), (guard, guard)))

  def along(
    self, x_CN: Array, rows: Sequence[int], columns: Sequence[int]
  ) -> list[Array]:
    """What lies so many rows below, each widened."""
    row, guard = self.batch * self.columns, self._guard(columns)
    far = row * max(map(abs, rows))
    if self.torus:
      x_CN = jnp.pad(x_CN, ((0, 0), (far, far)), mode="wrap")
    room = guard if self.torus else guard + far
    x_CM = jnp.pad(x_CN, ((0, 0), (room, room)))
    M = self.size + 2 * guard
    return [x_CM[:, far + i * row :][:, :M] for i in rows]

  def across(self, x_CM: Array, column: int) -> Array:
    """What lies so many columns to the right, of a widened array: `[C, N]`."""
    guard = (x_CM.shape[-1] - self.size) // 2
    cut = lambda i: x_CM[:, guard + i : guard + i + self.size]
    if self.torus:
      column %= self.columns
    to_N = np.arange(self.size) % self.columns + column
    inside_N = (to_N >= 0) & (to_N < self.columns)
    if inside_N.all():
      return cut(column)
    if self.torus:
      return jnp.where(inside_N, cut(column), cut(column - self.columns))
    return cut(column) * inside_N.astype(np.float32)

  def _guard(self, columns):
    far = max(map(abs, columns))
    return self.columns if self.torus and far else far


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
  kernel_yxCP: Array, x_CN: Array, layout: Layout, dilation: int = 1
) -> Array:
  """A learned convolution: sums over neighbours of `kernel[y, x].T in[n]`.

  One matrix product, forward and in each gradient: rows above and below are
  stacked as inputs, columns to the left and right as outputs. XLA's gradient of
  a convolution with respect to its kernel is ten times slower on a CPU, and
  under `vmap` over kernels it is a grouped convolution; this is a batched
  product. Nine products, one of nine inputs, one of nine outputs and Winograd's
  F(2, 3) along the rows were measured to be slower.

  Args:
    kernel_yxCP: for each neighbour, a matrix from input to output channels;
      rows and columns are odd.
    x_CN: flat grids.
    layout: of the grids.
    dilation: how far neighbours are from each other.

  Returns:
    Flat grids `[P, N]`.
  """
  rows, columns = (_offsets(n, dilation) for n in kernel_yxCP.shape[:2])
  P = kernel_yxCP.shape[-1]
  products_xPM = (
    kernel_yxCP.transpose(1, 3, 0, 2).reshape(len(columns) * P, -1)
    @ jnp.concatenate(layout.along(x_CN, rows, columns))
  ).reshape(len(columns), P, -1)
  return sum(map(layout.across, products_xPM, columns))


def _forward(kernel_yxCP, x_CN, layout, dilation):
  return convolve(kernel_yxCP, x_CN, layout, dilation), (kernel_yxCP, x_CN)


def _backward(layout, dilation, residuals, d_out_PN):
  kernel_yxCP, x_CN = residuals
  rows, columns = (_offsets(n, dilation) for n in kernel_yxCP.shape[:2])
  wide_PM = layout.widen(d_out_PN, columns)
  d_kernel = jnp.einsum(
    "aN,bN->ab",
    jnp.concatenate([layout.across(wide_PM, -column) for column in columns]),
    jnp.concatenate(layout.along(x_CN, rows, (0,))),
  )
  y, x, C, P = kernel_yxCP.shape
  d_kernel_yxCP = d_kernel.reshape(x, P, y, C).transpose(2, 0, 3, 1)
  turned_yxPC = kernel_yxCP[::-1, ::-1].swapaxes(2, 3)
  return d_kernel_yxCP, convolve(turned_yxPC, d_out_PN, layout, dilation)


convolve.defvjp(_forward, _backward)


def filtered(
  x_CN: Array, names: Sequence[str], layout: Layout, dilation: int = 1
) -> Array:
  """Fixed 3 x 3 filters on every channel, `[F C, N]` filter by filter.

  Args:
    x_CN: flat grids.
    names: keys of `FILTERS`.
    layout: of the grids.
    dilation: how far neighbours are from each other.
  """
  x_KCN = _nine(x_CN, layout, dilation)
  outs = []
  for name in names:
    weights = zip(sum(FILTERS[name], ()), x_KCN, strict=True)
    outs.append(sum(weight * x_CN for weight, x_CN in weights if weight))
  return jnp.concatenate(outs)


def largest(x_N: Array, layout: Layout) -> Array:
  """The largest value among a cell and its eight neighbours, `[N]`."""
  return functools.reduce(jnp.maximum, _nine(x_N[None], layout, 1))[0]


def _nine(x_CN, layout, dilation):
  """What lies above, below and beside, row by row, `[C, N]` each."""
  near = _offsets(3, dilation)
  return [
    layout.across(x_CM, column)
    for x_CM in layout.along(x_CN, near, near)
    for column in near
  ]


def _offsets(count, dilation):
  """So many rows or columns around a cell."""
  return [dilation * i for i in range(-(count // 2), count // 2 + 1)]
