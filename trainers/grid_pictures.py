"""Coloured grids as SVG: still beside each other, or as they grow.

Colours are those of ARC's own page. Animations need no script: they run where
the SVG is shown, stop under the pointer, and stand at their end for readers who
ask for less motion.
"""

import base64
from collections.abc import Mapping, Sequence
import html
import io
from typing import Any, NamedTuple

import numpy as np

from trainers import figures
from trainers.figures import Series
from trainers.reports import Figure, slug

COLOURS = np.array(
  [
    [int(c[i : i + 2], 16) for i in (0, 2, 4)]
    for c in (
      "000000 0074D9 FF4136 2ECC40 FFDC00 AAAAAA F012BE FF851B 7FDBFF 870C25"
    ).split()
  ],
  np.uint8,
)
_WIDTH = 680
_GAP = 14
_LINE = 15  # height of a line of text
_TALLEST = 150  # of a panel


class Panel(NamedTuple):
  """A grid `[Y, X]` of 0..9, or its colours `[Y, X, 3]`; cells to be framed."""

  label: str
  grid: np.ndarray
  marked: np.ndarray | None = None


def blended(probabilities_YXK: np.ndarray) -> np.ndarray:
  """The mean colour of each cell, uint8 [Y, X, 3]."""
  return np.rint(probabilities_YXK @ COLOURS.astype(float)).astype(np.uint8)


def gallery(
  title: str, rows: Mapping[str, Sequence[Panel]], *, caption: str = ""
) -> Figure:
  """Rows of grids, each with its heading and a label under every grid.

  Args:
    title: names the figure and its files.
    rows: heading to panels.
    caption: one or two sentences below the figure.
  """
  parts, top = [], 0
  across = max((len(panels) for panels in rows.values()), default=1)
  for heading, panels in rows.items():
    part, height = _row(heading, panels, across, top)
    parts.append(part)
    top += height
  curves = {
    f"{heading}: {panel.label}": Series(
      np.arange(panel.grid.size), panel.grid.ravel()
    )
    for heading, panels in rows.items()
    for panel in panels
  }
  return _figure(title, caption, "".join(parts), top, curves)


def film(
  title: str,
  films: Mapping[str, tuple[np.ndarray, Sequence[Panel]]],
  *,
  seconds: float = 6.0,
  caption: str = "",
) -> Figure:
  """Grids that grow, each beside still ones; all begin again together.

  Args:
    title: names the figure and its files.
    films: heading to frames, uint8 [T, Y, X, 3], and still panels.
    seconds: of one round; a third of it the last frame stands.
    caption: one or two sentences below the figure.
  """
  name = f"{slug(title)}-frame"
  parts, top, curves = [], 0, {}
  across = 1 + max((len(p) for _, p in films.values()), default=1)
  for heading, (frames_TYX3, panels) in films.items():
    last = Panel("", frames_TYX3[-1])
    part, height = _row(heading, [last, *panels], across, top)
    growing = _frames(frames_TYX3, across, top + _LINE + 8, name, seconds)
    parts += [part, growing]
    top += height
    means_T = frames_TYX3.mean((1, 2, 3))
    curves[heading] = Series(np.arange(len(means_T)), means_T)
  style = (
    f"<style>.{name} {{ opacity: 0; animation-duration: {seconds}s; "
    "animation-iteration-count: infinite; animation-timing-function: step-end }"
    f"svg:hover .{name} {{ animation-play-state: paused }}"
    f".{name}.last {{ opacity: 1 }}"
    f"@media (prefers-reduced-motion: reduce) {{ .{name} {{ animation: none "
    "!important } }"
    f"{_keyframes(name, films)}</style>"
  )
  return _figure(title, caption, style + "".join(parts), top, curves)


def _keyframes(name: str, films: Mapping[str, Any]) -> str:
  """When each frame of each length of film is seen."""
  rules = []
  for T in sorted({len(frames) for frames, _ in films.values()}):
    for t in range(T):
      start, end = (100 * (i / T) * 2 / 3 for i in (t, t + 1))
      end = 100 if t == T - 1 else end
      steps = [f"0% {{ opacity: {int(t == 0)} }}"]
      steps += [f"{start:.2f}% {{ opacity: 1 }}"] * (t > 0)
      steps += [f"{end:.2f}% {{ opacity: 0 }}"] * (end < 100)
      rules.append(f"@keyframes {name}-{T}-{t} {{ {' '.join(steps)} }}")
  return "".join(rules)


def _frames(frames_TYX3, across, top, name, seconds) -> str:
  del seconds
  T, Y, X, _ = frames_TYX3.shape
  width, height = _size(Y, X, across)
  left = (_slot(across) - width) / 2
  images = []
  for t, frame in enumerate(frames_TYX3):
    last = " last" if t == T - 1 else ""
    images.append(
      f'<image class="{name}{last}" x="{left:.1f}" y="{top:.1f}" '
      f'width="{width:.1f}" height="{height:.1f}" '
      f'style="animation-name: {name}-{T}-{t}; image-rendering: pixelated" '
      f'preserveAspectRatio="none" href="{_png(frame)}"/>'
    )
    images.append(
      f'<text class="{name}{last}" style="animation-name: {name}-{T}-{t}" '
      f'x="{_slot(across) / 2:.1f}" y="{top + height + _LINE:.1f}" '
      f'text-anchor="middle" fill="#59636e">step {t}</text>'
    )
  return "".join(images)
