"""A field on the plane with its basins in colour, as papers print them."""

import numpy as np
from numpy.typing import ArrayLike

from trainers import figures
from trainers.figures import Series
from trainers.reports import Figure

_NOWHERE = "#d1d5db"
_ARROWS = 24  # along a side


def vector_field(
  title: str,
  x_X: ArrayLike,
  y_Y: ArrayLike,
  basin_YX: ArrayLike,
  field_YX2: ArrayLike,
  attractors_K2: ArrayLike,
  *,
  dots_N2: ArrayLike | None = None,
  dots_label: str = "",
  xlabel: str = "",
  ylabel: str = "",
  caption: str = "",
) -> Figure:
  """Basins as colours, the field as arrows of one length, attractors as stars.

  Colours repeat when there are more basins than colours; neighbours are told
  apart by a paler line between them.

  Args:
    title: names the figure and its files.
    x_X: columns of the grid, evenly spaced.
    y_Y: its rows, likewise.
    basin_YX: the attractor that each cell reaches; below 0 for none, in grey.
    field_YX2: the direction of movement in each cell.
    attractors_K2: places of the attractors.
    dots_N2: further points, such as codes of training data.
    dots_label: what they are.
    xlabel: of the first axis.
    ylabel: of the second axis.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: the basins or the field do not fit the grid, or a basin has no
      attractor.
  """
  x_X, y_Y = np.asarray(x_X, float), np.asarray(y_Y, float)
  basin_YX, field_YX2 = np.asarray(basin_YX, int), np.asarray(field_YX2, float)
  stars_K2 = np.asarray(attractors_K2, float).reshape(-1, 2)
  _check(title, (len(y_Y), len(x_X)), basin_YX, field_YX2, len(stars_K2))
  curves = {"basin": Series(np.arange(basin_YX.size), basin_YX.ravel())}
  if len(stars_K2):
    curves["attractors"] = Series(*stars_K2.T)
  if dots_N2 is not None:
    curves[dots_label or "dots"] = Series(*np.asarray(dots_N2, float).T)

  def draw(figure):
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    _basins(axes, x_X, y_Y, basin_YX)
    _arrows(axes, x_X, y_Y, field_YX2)
    _points(axes, stars_K2, dots_N2, dots_label)
    axes.set_xlim(x_X[0], x_X[-1])
    axes.set_ylim(y_Y[0], y_Y[-1])
    axes.grid(visible=False)
    handles, names = axes.get_legend_handles_labels()
    place = {"loc": "outside upper left", "ncols": 2}
    figure.legend(handles, names, **place)

  about = f"Basins of {len(stars_K2)} attractors in the plane"
  return figures.picture(title, caption, curves, about, 5.4, draw)


def _check(title, grid, basin_YX, field_YX2, num_attractors):
  if basin_YX.shape != grid or field_YX2.shape != (*grid, 2):
    raise ValueError(
      f"figure {title!r} has basins of shape {basin_YX.shape} and a field of "
      f"shape {field_YX2.shape}; its grid needs {grid} and {(*grid, 2)}"
    )
  if basin_YX.max(initial=-1) >= num_attractors:
    raise ValueError(
      f"figure {title!r} has basin {basin_YX.max()} and {num_attractors} "
      "attractors"
    )


def _basins(axes, x_X, y_Y, basin_YX):
  from matplotlib import colormaps, colors

  tints = [colors.to_rgb(_NOWHERE), *colormaps["tab20"].colors[::2]]
  tints += colormaps["tab20"].colors[1::2]
  which_YX = np.where(basin_YX < 0, 0, 1 + basin_YX % 20)
  # Half way to white, so that arrows and dots are seen.
  image_YX3 = 0.5 + 0.5 * np.asarray(tints)[which_YX]
  edge_YX = np.zeros(basin_YX.shape, bool)
  edge_YX[1:] |= basin_YX[1:] != basin_YX[:-1]
  edge_YX[:, 1:] |= basin_YX[:, 1:] != basin_YX[:, :-1]
  image_YX3[edge_YX] = 0.6 + 0.4 * image_YX3[edge_YX]  # keeps thin basins
  step_x, step_y = (v[1] - v[0] if len(v) > 1 else 1.0 for v in (x_X, y_Y))
  span = (x_X[0] - step_x / 2, x_X[-1] + step_x / 2)
  span += (y_Y[0] - step_y / 2, y_Y[-1] + step_y / 2)
  look = {"origin": "lower", "aspect": "auto", "interpolation": "none"}
  axes.imshow(image_YX3, extent=span, **look)


def _arrows(axes, x_X, y_Y, field_YX2):
  rows = np.s_[:: max(1, len(y_Y) // _ARROWS)]
  columns = np.s_[:: max(1, len(x_X) // _ARROWS)]
  some_YX2 = field_YX2[rows, columns]
  lengths = np.linalg.norm(some_YX2, axis=-1, keepdims=True)
  some_YX2 = some_YX2 / np.where(lengths > 0, lengths, 1.0)
  look = {"color": "#4b5563", "width": 0.0022, "scale": 34, "pivot": "mid"}
  u_YX, v_YX = some_YX2[..., 0], some_YX2[..., 1]
  axes.quiver(x_X[columns], y_Y[rows], u_YX, v_YX, **look, zorder=2)


def _points(axes, stars_K2, dots_N2, dots_label):
  if dots_N2 is not None:
    look = {"s": 5, "color": "#24292f", "alpha": 0.45, "lw": 0}
    axes.scatter(*np.asarray(dots_N2).T, **look, label=dots_label, zorder=3)
  look = {"marker": "*", "s": 150, "color": "white", "edgecolor": "black"}
  axes.scatter(*stars_K2.T, **look, label="attractors", zorder=4)
