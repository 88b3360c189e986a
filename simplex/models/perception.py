"""What a cell sees: sums of shifted products on grids laid out flat.

A batch of grids is one array `[C, N]`: channels first, so that sums over
channels run along whole rows of cells, and grids one after another with
gutters between their rows, so that a neighbour is a shift and all shifts are
views of one buffer.
"""

from collections.abc import Sequence
import functools
import math
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


class Layout(NamedTuple):
  """Where the cells of a batch of grids stand in a flat array.

  Attributes:
    batch: the leading axes of the grids.
    rows: Y.
    columns: X.
    reach: how far a cell sees, in cells.
    torus: whether opposite borders are neighbours; else all is 0 outside.
  """

  batch: tuple[int, ...]
  rows: int
  columns: int
  reach: int
  torus: bool

  @property
  def before(self) -> int:
    """Gutter above and to the left; with walls, the one after serves both."""
    return self.reach if self.torus else 0

  @property
  def shape(self) -> tuple[int, ...]:
    gutter = self.before + self.reach
    return *self.batch, self.rows + gutter, self.columns + gutter

  def flatten(self, x_YXC: Array) -> Array:
    """`[..., Y, X, C]` to `[C, N]`; gutters are 0."""
    channels = x_YXC.shape[-1]
    sides = (self.before, self.reach)
    widths = [(0, 0)] * len(self.batch) + [sides, sides, (0, 0)]
    x_YXC = jnp.pad(x_YXC, widths)
    return jnp.moveaxis(x_YXC, -1, 0).reshape(channels, -1)

  def unflatten(self, x_CN: Array) -> Array:
    """`[..., C, N]` to `[..., *batch, Y, X, C]`."""
    x_CYX = x_CN.reshape(*x_CN.shape[:-1], *self.shape)
    x_YXC = jnp.moveaxis(x_CYX, x_CN.ndim - 2, -1)
    start = self.before
    rows = slice(start, start + self.rows)
    return x_YXC[..., rows, start : start + self.columns, :]

  def close(self, x_CN: Array) -> Array:
    """Fills the gutters of a torus from the opposite side."""
    if not self.torus:
      return x_CN
    widths = [(0, 0)] * len(self.batch) + [(self.reach, self.reach)] * 2
    wrap = functools.partial(jnp.pad, pad_width=widths, mode="wrap")
    x_YXC = self.unflatten(x_CN)
    x_CYX = jax.vmap(wrap)(jnp.moveaxis(x_YXC, -1, 0))
    return x_CYX.reshape(x_CN.shape)

  def offsets(self, size: int, dilations: Sequence[int]) -> tuple[int, ...]:
    """How far the neighbours are in the flat array, row by row."""
    stride = self.shape[-1]
    near = range(-(size // 2), size // 2 + 1)
    return tuple(
      d * (y * stride + x) for d in dilations for y in near for x in near
    )


def shifted(x_CN: Array, offsets: Sequence[int]) -> list[Array]:
  """The array as seen from neighbours at these offsets; 0 beyond its ends."""
  N = x_CN.shape[-1]
  guard = max(map(abs, offsets))
  x_CM = jnp.pad(x_CN, ((0, 0), (guard, guard)))
  return [x_CM[:, guard + offset : guard + offset + N] for offset in offsets]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(kernel_KIO: Array, x_IN: Array, offsets: tuple[int, ...]) -> Array:
  """A learned convolution, `out[o, n] = sum_ki kernel[k, i, o] x[i, n + k]`.

  A sum of matrix products, forward and backward. XLA's own gradient of a
  convolution with respect to its kernel is ten times slower on a CPU, and under
  `vmap` over kernels it is a grouped convolution; this is a batched product.

  Args:
    kernel_KIO: for each neighbour, a matrix from input to output channels.
    x_IN: flat grids.
    offsets: of the K neighbours; symmetric about 0.

  Returns:
    Flat grids `[O, N]`, without meaning in the gutters.
  """
  return sum(
    kernel_IO.T @ x_shifted_IN
    for kernel_IO, x_shifted_IN in zip(
      kernel_KIO, shifted(x_IN, offsets), strict=True
    )
  )


def _forward(kernel_KIO, x_IN, offsets):
  return convolve(kernel_KIO, x_IN, offsets), (kernel_KIO, x_IN)


def _backward(offsets, residuals, d_out_ON):
  kernel_KIO, x_IN = residuals
  d_kernel_KIO = jnp.stack(
    [
      jnp.einsum("IN,ON->IO", x_shifted_IN, d_out_ON)
      for x_shifted_IN in shifted(x_IN, offsets)
    ]
  )
  back = tuple(-offset for offset in offsets)
  d_x_IN = convolve(kernel_KIO.transpose(0, 2, 1), d_out_ON, back)
  return d_kernel_KIO, d_x_IN


convolve.defvjp(_forward, _backward)


def filtered(
  x_CN: Array, names: Sequence[str], offsets: tuple[int, ...]
) -> Array:
  """Fixed 3 x 3 filters on every channel, `[F C, N]` filter by filter.

  Args:
    x_CN: flat grids.
    names: keys of `FILTERS`.
    offsets: of the nine neighbours; a multiple of nine for several dilations.
  """
  outs = []
  for start in range(0, len(offsets), 9):
    x_KCN = shifted(x_CN, offsets[start : start + 9])
    for name in names:
      weights = sum(FILTERS[name], ())
      pairs = zip(weights, x_KCN, strict=True)
      outs.append(sum(w * x for w, x in pairs if w))
  return jnp.concatenate(outs)


def largest_near(x_N: Array, offsets: tuple[int, ...]) -> Array:
  """The largest value among a cell and its neighbours, `[N]`."""
  return functools.reduce(
    jnp.maximum, [x[0] for x in shifted(x_N[None], offsets)]
  )


def size(layout: Layout) -> int:
  """N."""
  return math.prod(layout.shape)
