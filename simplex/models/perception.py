"""What a cell sees: sums of shifted products on grids laid out flat.

A batch of grids is one array `[C, N]`: channels first, so that sums over
channels run along whole rows of cells, and grids one after another with
gutters between their rows, so that a neighbour is a shift and all shifts are
views of one buffer.
"""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

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

# Offsets of rows and of columns in a flat array, whose sums are neighbours.
Neighbours = tuple[tuple[int, ...], tuple[int, ...]]


class Layout(NamedTuple):
  """Where the cells of a batch of grids stand in a flat array.

  Attributes:
    batch: the leading axes of the grids.
    rows: Y.
    columns: X.
    reach: how far a cell sees, in rows and in columns.
    torus: whether opposite borders are neighbours; else all is 0 outside.
  """

  batch: tuple[int, ...]
  rows: int
  columns: int
  reach: tuple[int, int]
  torus: bool

  @property
  def gutters(self) -> tuple[tuple[int, int], tuple[int, int]]:
    """Before and after rows and columns; with walls, one after serves both."""
    return tuple((r if self.torus else 0, r) for r in self.reach)

  @property
  def shape(self) -> tuple[int, ...]:
    above, left = map(sum, self.gutters)
    return *self.batch, self.rows + above, self.columns + left

  def flatten(self, x_YXC: Array) -> Array:
    """`[..., Y, X, C]` to `[C, N]`; gutters are 0."""
    channels = x_YXC.shape[-1]
    widths = [(0, 0)] * len(self.batch) + [*self.gutters, (0, 0)]
    x_YXC = jnp.pad(x_YXC, widths)
    return jnp.moveaxis(x_YXC, -1, 0).reshape(channels, -1)

  def unflatten(self, x_CN: Array) -> Array:
    """`[..., C, N]` to `[..., *batch, Y, X, C]`."""
    x_CYX = x_CN.reshape(*x_CN.shape[:-1], *self.shape)
    x_YXC = jnp.moveaxis(x_CYX, x_CN.ndim - 2, -1)
    (above, _), (left, _) = self.gutters
    rows = slice(above, above + self.rows)
    return x_YXC[..., rows, left : left + self.columns, :]

  def close(self, x_CN: Array) -> Array:
    """Fills the gutters of a torus from the opposite side."""
    if not self.torus:
      return x_CN
    widths = [(0, 0)] * len(self.batch) + list(self.gutters)
    wrap = functools.partial(jnp.pad, pad_width=widths, mode="wrap")
    x_YXC = self.unflatten(x_CN)
    x_CYX = jax.vmap(wrap)(jnp.moveaxis(x_YXC, -1, 0))
    return x_CYX.reshape(x_CN.shape)

  def near(self, size: tuple[int, int], dilation: int = 1) -> Neighbours:
    """So many rows and columns around a cell, both odd."""
    rows, columns = (
      tuple(dilation * i for i in range(-(n // 2), n // 2 + 1)) for n in size
    )
    return tuple(self.shape[-1] * row for row in rows), columns


def shifted(x_CN: Array, offsets: Sequence[int]) -> list[Array]:
  """The array as seen from neighbours at these offsets; 0 beyond its ends."""
  N = x_CN.shape[-1]
  guard = max(map(abs, offsets))
  x_CM = jnp.pad(x_CN, ((0, 0), (guard, guard)))
  return [x_CM[:, guard + offset : guard + offset + N] for offset in offsets]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(kernel_yxCP: Array, x_CN: Array, near: Neighbours) -> Array:
  """A learned convolution, `out[n] = sum_yx kernel[y, x].T in[n + y + x]`.

  One matrix product, forward and in each gradient: rows above and below are
  stacked as inputs, columns to the left and right as outputs. XLA's gradient of
  a convolution with respect to its kernel is ten times slower on a CPU, and
  under `vmap` over kernels it is a grouped convolution; this is a batched
  product. Nine products, one of nine inputs and one of nine outputs were
  measured to be slower.

  Args:
    kernel_yxCP: for each neighbour, a matrix from input to output channels.
    x_CN: flat grids.
    near: offsets of the neighbours, symmetric about 0.

  Returns:
    Flat grids `[P, N]`, without meaning in the gutters.
  """
  rows, columns = near
  N, P = x_CN.shape[-1], kernel_yxCP.shape[-1]
  reach = max(columns)
  wide_CM = jnp.pad(x_CN, ((0, 0), (reach, reach)))
  products_xPM = (
    kernel_yxCP.transpose(1, 3, 0, 2).reshape(len(columns) * P, -1)
    @ jnp.concatenate(shifted(wide_CM, rows))
  ).reshape(len(columns), P, -1)
  return sum(
    product_PM[:, reach + column : reach + column + N]
    for column, product_PM in zip(columns, products_xPM, strict=True)
  )


def _forward(kernel_yxCP, x_CN, near):
  return convolve(kernel_yxCP, x_CN, near), (kernel_yxCP, x_CN)


def _backward(near, residuals, d_out_PN):
  kernel_yxCP, x_CN = residuals
  rows, columns = near
  reach = max(columns)
  wide = lambda x: jnp.pad(x, ((0, 0), (reach, reach)))
  left = [-column for column in columns]
  d_kernel = jnp.einsum(
    "aM,bM->ab",
    jnp.concatenate(shifted(wide(d_out_PN), left)),
    jnp.concatenate(shifted(wide(x_CN), rows)),
  )
  y, x, C, P = kernel_yxCP.shape
  d_kernel_yxCP = d_kernel.reshape(x, P, y, C).transpose(2, 0, 3, 1)
  turned_yxPC = kernel_yxCP[::-1, ::-1].swapaxes(2, 3)
  return d_kernel_yxCP, convolve(turned_yxPC, d_out_PN, near)


convolve.defvjp(_forward, _backward)


def filtered(x_CN: Array, names: Sequence[str], near: Neighbours) -> Array:
  """Fixed 3 x 3 filters on every channel, `[F C, N]` filter by filter.

  Args:
    x_CN: flat grids.
    names: keys of `FILTERS`.
    near: offsets of the nine neighbours.
  """
  x_KCN = shifted(x_CN, _pairs(near))
  outs = []
  for name in names:
    weights = zip(sum(FILTERS[name], ()), x_KCN, strict=True)
    outs.append(sum(weight * x_CN for weight, x_CN in weights if weight))
  return jnp.concatenate(outs)


def largest(x_N: Array, near: Neighbours) -> Array:
  """The largest value among a cell and its neighbours, `[N]`."""
  x_K1N = shifted(x_N[None], _pairs(near))
  return functools.reduce(jnp.maximum, x_K1N)[0]


def _pairs(near):
  return [row + column for row in near[0] for column in near[1]]
