"""Matrices as coloured cells, in the style of the other figures."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from trainers import figures
from trainers.figures import Series
from trainers.reports import Figure

_MOST_LABELS = 16


def heat_maps(
  title: str,
  panels: Mapping[str, ArrayLike],
  labels: Sequence[str],
  *,
  marked: ArrayLike | None = None,
  xlabel: str = "",
  ylabel: str = "",
  value_label: str = "",
  caption: str = "",
) -> Figure:
  """Square matrices beside each other, on one scale that begins at 0.

  Args:
    title: names the figure and its files.
    panels: name to values, each [N, N].
    labels: N names of the rows, and of the columns; thinned when many.
    marked: [N, N], true where a cell gets a frame.
    xlabel: what the columns are.
    ylabel: what the rows are.
    value_label: what is measured, with the unit.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: a matrix does not have N rows and N columns.
  """
  N = len(labels)
  grids = {name: np.asarray(grid, float) for name, grid in panels.items()}
  for name, grid in {**grids, "marked": marked}.items():
    if grid is not None and np.shape(grid) != (N, N):
      raise ValueError(
        f"{name!r} of figure {title!r} has the shape {np.shape(grid)}; "
        f"{N} labels need {(N, N)}"
      )
  curves = {
    name: Series(np.arange(grid.size), grid.ravel())
    for name, grid in grids.items()
  }

  def draw(figure):
    row = figure.subplots(1, len(grids), sharey=True, squeeze=False)[0]
    top = max(grid.max() for grid in grids.values())
    for axes, (name, grid) in zip(row, grids.items(), strict=True):
      picture = _panel(axes, name, grid, labels, marked, top)
      axes.set_xlabel(xlabel)
    row[0].set_ylabel(ylabel)
    bar = figure.colorbar(picture, ax=row, shrink=0.8, pad=0.02)
    bar.set_label(value_label)
    bar.outline.set_visible(False)

  about = f"{value_label or 'Values'} by {ylabel or 'row'} and "
  about += xlabel or "column"
  return figures.picture(title, caption, curves, about, 3.4, draw)


def _panel(axes, name, grid, labels, marked, top):
  """Draws one matrix; returns what a colour bar is made of."""
  N = len(labels)
  keep = np.arange(0, N, -(-N // _MOST_LABELS))
  shown = [labels[i] for i in keep]
  picture = axes.imshow(grid, cmap="Blues", vmin=0, vmax=top)
  axes.set_title(name, loc="left", fontsize=9.5, pad=3)
  axes.set_xticks(keep, shown, rotation=90)
  axes.set_yticks(keep, shown)
  axes.tick_params(length=0)
  axes.grid(visible=False)
  for y, x in np.argwhere(np.zeros((N, N)) if marked is None else marked):
    frame = {"fc": "none", "ec": "#D55E00", "lw": 1.6}
    axes.add_patch(_square(x, y, **frame))
  return picture


def _square(x: float, y: float, **look):
  from matplotlib import patches

  return patches.Rectangle((x - 0.5, y - 0.5), 1, 1, **look)
