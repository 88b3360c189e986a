"""Coloured grids as SVG: still beside each other, or as they grow.

Colours are those of ARC's own page. An animation needs no script: it runs where
the SVG is shown, stops under the pointer, and stands at its end for readers who
ask for less motion.
"""

import base64
from collections.abc import Mapping, Sequence
import html
import io
from typing import NamedTuple

import numpy as np

from trainers.figures import Series
from trainers.reports import Figure, slug

_HEX = (
  "000000 0074D9 FF4136 2ECC40 FFDC00 AAAAAA F012BE FF851B 7FDBFF 870C25"
).split()
COLOURS = np.array([list(bytes.fromhex(c)) for c in _HEX], np.uint8)
_WIDTH, _GAP, _LINE = 680, 14, 16  # of the picture, between grids, of a text
_LARGEST = 150  # side of a grid
_CROSS = 10  # side of a cross, at most
_INK, _SOFT, _EDGE = "#24292f", "#59636e", "#555"
_FONT = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_HOLD = 2.0  # seconds for which the end of a film stands


class Panel(NamedTuple):
  """A grid [Y, X] of 0..9, a line below it, and cells that get a cross."""

  label: str
  grid: np.ndarray
  crossed: np.ndarray | None = None


class Film(NamedTuple):
  """Frames, uint8 [T, Y, X, 3], and still grids, the first before them."""

  frames: np.ndarray
  panels: Sequence[Panel]


def blended(probabilities_K: np.ndarray) -> np.ndarray:
  """The mean colour over the last axis of probabilities, uint8 [..., 3]."""
  return np.rint(probabilities_K @ COLOURS.astype(float)).astype(np.uint8)


def gallery(
  title: str, rows: Mapping[str, Sequence[Panel | None]], *, caption: str = ""
) -> Figure:
  """Rows of grids, each row with a heading, each grid with its label.

  Args:
    title: names the figure and its files.
    rows: heading to panels, None where a place stays free; a heading may go
      on after ` · `.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: there is no row.
  """
  across = max((len(panels) for panels in rows.values()), default=0)
  parts, top = [], 0.0
  for heading, panels in rows.items():
    placed = [(i, panel) for i, panel in enumerate(panels) if panel]
    tallest = max(_size(panel.grid, across)[0] for _, panel in placed)
    parts.append(_heading(heading, top))
    for i, panel in placed:
      parts.append(_panel(panel, i, across, top + _LINE + 8))
    top += tallest + 2 * _LINE + 26
  curves = {
    _name(heading): _curve(
      np.concatenate([panel.grid.ravel() for panel in panels if panel])
    )
    for heading, panels in rows.items()
  }
  return _figure(title, caption, parts, top, across, curves)


def growth(
  title: str,
  films: Mapping[str, Film],
  *,
  seconds: float = 4.0,
  caption: str = "",
) -> Figure:
  """Grids that grow beside still ones; all begin again together.

  Args:
    title: names the figure and its files.
    films: heading to film.
    seconds: in which the longest is shown, before its end stands.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: there is no film.
  """
  across = 1 + max((len(film.panels) for film in films.values()), default=0)
  frame = seconds / max((len(f.frames) for f in films.values()), default=1)
  name = f"{slug(title)}-frame"
  parts, top = [_style(name, frame, seconds + _HOLD)], 0.0
  for heading, film in films.items():
    grids = [film.frames[0], *(panel.grid for panel in film.panels)]
    tallest = max(_size(grid, across)[0] for grid in grids)
    parts.append(_heading(heading, top))
    below = top + _LINE + 8
    parts.append(_film(film.frames, 1, across, below, name, frame))
    for i, panel in zip((0, *range(2, across)), film.panels, strict=False):
      parts.append(_panel(panel, i, across, below))
    top += tallest + 2 * _LINE + 26
  curves = {_name(h): _curve(film.frames) for h, film in films.items()}
  return _figure(title, caption, parts, top, across, curves)


def _style(name: str, frame: float, period: float) -> str:
  """Frames wait their turn, hide the last one while it lasts, and repeat."""
  share = 100 * frame / period
  return (
    f"<style>.{name} {{ opacity: 0; animation: {name} {period:.2f}s step-end "
    f"infinite; }} @keyframes {name} {{ 0% {{ opacity: 1 }} {share:.3f}% "
    "{ opacity: 0 } 100% { opacity: 0 } } "
    f"svg:hover .{name} {{ animation-play-state: paused; }} "
    "@media (prefers-reduced-motion: reduce) { "
    f".{name} {{ animation: none; }} }}</style>"
  )


def _film(frames_TYX3, index, across, top, name, seconds) -> str:
  height, width = _size(frames_TYX3[0], across)
  left = _left(index, across)
  place = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}"'
  place += f' height="{height:.1f}"'
  below = top + height + 3
  T = len(frames_TYX3)
  parts = []
  for t in (T - 1, *range(T - 1)):  # the last one lies below the others
    attributes = f'class="{name}" style="animation-delay: {t * seconds:.3f}s"'
    parts.append(
      f"<g{' ' + attributes if t < T - 1 else ''}>"
      f'<image {place} style="image-rendering: pixelated" '
      f'preserveAspectRatio="none" href="{_png(frames_TYX3[t])}"/>'
      f'<rect x="{left:.1f}" y="{below:.1f}" width="{width:.1f}" '
      f'height="{_LINE}" fill="#fff"/>'
      f"{_label(f'step {t}', left + width / 2, top + height)}</g>"
    )
  return "".join(parts)


def _heading(text: str, top: float) -> str:
  return (
    f'<text x="{_GAP / 2}" y="{top + _LINE:.1f}" fill="{_INK}" '
    f'font-weight="600">{html.escape(text)}</text>'
  )


def _label(text: str, middle: float, top: float) -> str:
  return (
    f'<text x="{middle:.1f}" y="{top + _LINE:.1f}" fill="{_SOFT}" '
    f'text-anchor="middle" font-size="11.5">{html.escape(text)}</text>'
  )


def _panel(panel: Panel, index: int, across: int, top: float) -> str:
  """One path for each colour; white crosses on what is wrong."""
  height, width = _size(panel.grid, across)
  Y, X = panel.grid.shape
  left = _left(index, across)
  scale = width / X
  paths = [
    f'<path fill="#{_HEX[c]}" d="{_cells(panel.grid == c)}"/>'
    for c in np.unique(panel.grid)
  ]
  lines = "".join(f"M0 {y}h{X}" for y in range(Y + 1))
  lines += "".join(f"M{x} 0v{Y}" for x in range(X + 1))
  paths.append(_stroke(lines, _EDGE, 0.7 / scale))
  if panel.crossed is not None:
    places = np.argwhere(panel.crossed)
    arm = min(0.6, _CROSS / scale)
    start = 0.5 - arm / 2
    arms = "".join(
      f"M{x + start:.2f} {y + start:.2f}l{arm:.2f} {arm:.2f}"
      f"m0-{arm:.2f}l-{arm:.2f} {arm:.2f}"
      for y, x in places
    )
    paths.append(_stroke(arms, "#000", 0.44 * arm))
    paths.append(_stroke(arms, "#fff", 0.22 * arm))
  return (
    f'<g transform="translate({left:.1f} {top:.1f}) scale({scale:.3f})">'
    f"{''.join(paths)}</g>{_label(panel.label, left + width / 2, top + height)}"
  )


def _cells(chosen_YX: np.ndarray) -> str:
  """A path over the chosen cells, each run of a row at once."""
  steps = np.diff(np.pad(chosen_YX.astype(int), ((0, 0), (1, 1))))
  starts, ends = np.argwhere(steps == 1), np.argwhere(steps == -1)
  return "".join(
    f"M{x} {y}h{end - x}v1h-{end - x}z"
    for (y, x), (_, end) in zip(starts, ends, strict=True)
  )


def _stroke(path: str, colour: str, width: float) -> str:
  return (
    f'<path d="{path}" fill="none" stroke="{colour}" '
    f'stroke-width="{width:.3f}"/>'
  )


def _size(grid: np.ndarray, across: int) -> tuple[float, float]:
  """Height and width: as large as its slot, and none taller than the limit."""
  Y, X = grid.shape[:2]
  scale = (_slot(across) - _GAP) / max(Y, X)
  return Y * scale, X * scale


def _slot(across: int) -> float:
  """The width of a grid with its gap."""
  return min(_WIDTH / across, _LARGEST + _GAP)


def _left(index: int, across: int) -> float:
  return index * _slot(across) + _GAP / 2


def _png(pixels_YX3: np.ndarray) -> str:
  from PIL import Image

  buffer = io.BytesIO()
  Image.fromarray(pixels_YX3).save(buffer, "PNG", optimize=True)
  data = base64.b64encode(buffer.getvalue()).decode()
  return f"data:image/png;base64,{data}"


def _name(heading: str) -> str:
  """What stands before the first dot, for the names of files."""
  return heading.partition(" · ")[0]


def _curve(values: np.ndarray) -> Series:
  return Series(np.arange(values.size), values.ravel())


def _figure(title, caption, parts, height, across, curves) -> Figure:
  if not curves:
    raise ValueError(f"figure {title!r} is empty; give it at least one row")
  prefix = slug(title)
  about = f"Coloured grids in rows: {', '.join(curves)}."
  width = _slot(across) * across
  svg = (
    '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
    f'aria-labelledby="{prefix}-name {prefix}-about" '
    f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
    f'font-family="{_FONT}" font-size="13">'
    f'<title id="{prefix}-name">{html.escape(title)}</title>'
    f'<desc id="{prefix}-about">{html.escape(about)}</desc>'
    f"{''.join(parts)}</svg>"
  )
  return Figure(title, caption, svg, curves)
