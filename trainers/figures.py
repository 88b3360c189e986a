"""Figures in one style, as SVG that is the same for the same numbers.

The only importer of matplotlib, and only when something is drawn. Text stays
text in the SVG: it can be searched, and takes the reader's own font. It is
measured in DejaVu Sans, which is wider than those fonts, so it fits.
"""

from collections.abc import Callable, Mapping, Sequence
import html
import io
import re
import textwrap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trainers.reports import Figure, Table, slug

# Okabe & Ito's colours, which colour-blind readers tell apart, without yellow.
_COLOURS = "#0072B2 #D55E00 #009E73 #B5538C #E69F00 #45A5DB #333333".split()
_MARKERS = "osD^vPX"
_DASHES = ("-", "--", ":")
_REFERENCE = {"color": "#6b7280", "linestyle": (0, (4, 3)), "linewidth": 1.2}
_WIDTH = 5.6
_MOST_POINTS = 1000
_MOST_BARS = 20
_MOST_LABELS = 8
_STYLE = {
  "axes.axisbelow": True,
  "axes.edgecolor": "#9ca3af",
  "axes.grid": True,
  "axes.spines.right": False,
  "axes.spines.top": False,
  "font.family": "DejaVu Sans",
  "font.size": 9.5,
  "grid.color": "#e5e7eb",
  "legend.frameon": False,
  "legend.handlelength": 1.6,
  "lines.linewidth": 1.8,
  "svg.fonttype": "none",
  "svg.hashsalt": "simplex",
  "xtick.color": "#9ca3af",
  "xtick.labelcolor": "#24292f",
  "ytick.color": "#9ca3af",
  "ytick.labelcolor": "#24292f",
}
_FONT = "system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


class Series(NamedTuple):
  """One curve [N], with the ends of its interval where there are some."""

  x: ArrayLike
  y: ArrayLike
  low: ArrayLike | None = None
  high: ArrayLike | None = None


def lines(
  title: str,
  series: Mapping[str, Series],
  *,
  xlabel: str = "",
  ylabel: str = "",
  log_x: bool = False,
  log_y: bool = False,
  references: Mapping[str, float] | None = None,
  points: Sequence[str] = (),
  caption: str = "",
) -> Figure:
  """Curves with shaded intervals, and dashed lines at the reference values.

  Up to eight names stand beside the ends of their curves; more make a legend.

  Args:
    title: names the figure and its files.
    series: name to curve; a plain `(x, y)` will do.
    xlabel: what the curves run over.
    ylabel: what the curves measure, with the unit.
    log_x: a logarithmic axis, which leaves out x that are not positive.
    log_y: a logarithmic axis, which leaves out y that are not positive.
    references: name to the height of a horizontal line.
    points: names of the series that are dots, not joined by a line.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: there is no curve, or a curve has columns of unequal length.
  """
  curves = {n: _checked(title, n, Series(*s)) for n, s in series.items()}

  def draw(figure):
    axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel)
    axes.set_xscale("log" if log_x else "linear")
    axes.set_yscale("log" if log_y else "linear")
    ends = [
      _curve(axes, i, n, s, n in points)
      for i, (n, s) in enumerate(curves.items())
    ]
    for name, y in (references or {}).items():
      axes.axhline(y, **_REFERENCE, label=name, zorder=1)
      ends.append((name, None, float(y), _REFERENCE["color"]))
    axes.margins(x=0.02)
    _plain_ticks(axes.xaxis, log_x)
    _plain_ticks(axes.yaxis, log_y)
    if len(ends) > _MOST_LABELS:
      _legend(figure, axes)
    elif len(ends) > 1:
      _end_labels(axes, ends)

  about = f"{ylabel or 'Values'} against {xlabel or 'x'}"
  return picture(title, caption, curves, about, 3.6, draw)


def bars(
  title: str,
  groups: Sequence[str],
  series: Mapping[str, ArrayLike],
  *,
  errors: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
  references: Mapping[str, float] | None = None,
  value_label: str = "",
  caption: str = "",
) -> Figure:
  """One row for each group: bars from zero, or dots when bars get crowded.

  More than twenty bars become dots, on a scale that need not begin at zero.

  Args:
    title: names the figure and its files.
    groups: the names of the groups, N of them.
    series: name to N values, NaN where there is none.
    errors: name to the low and the high ends of the N intervals.
    references: name to a value marked by a dashed line.
    value_label: what is measured, with the unit.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: there is no series, or one has not N values.
  """
  curves = _grouped(title, groups, series, errors or {})
  crowded = len(groups) * len(curves) > _MOST_BARS

  def draw(figure):
    axes = figure.add_subplot(xlabel=value_label)
    rows_N = np.arange(len(groups))
    for i, (name, curve) in enumerate(curves.items()):
      size = 0.8 / len(curves)
      at_N = rows_N + (i - (len(curves) - 1) / 2) * size
      look = {"xerr": _spread(curve), "label": name, "color": _COLOURS[i % 7]}
      if crowded:
        look |= {"mec": "white", "mew": 0.6, "ms": 6, "elinewidth": 1.2}
        axes.errorbar(curve.y, at_N, fmt=_MARKERS[(i + i // 7) % 7], **look)
      else:
        axes.barh(at_N, curve.y, 0.9 * size, error_kw={"lw": 1}, **look)
    for row in rows_N[::2]:
      axes.axhspan(row - 0.5, row + 0.5, color="#f5f6f8", lw=0, zorder=0)
    for name, x in (references or {}).items():
      axes.axvline(x, **_REFERENCE, label=name, zorder=1)
    axes.set_yticks(rows_N, groups)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    _plain_ticks(axes.xaxis)
    if len(curves) + len(references or {}) > 1:
      _legend(figure, axes)

  row = 0.36 if crowded else 0.16 + 0.18 * len(curves)
  height = 1.2 + 0.1 * len(curves) + row * len(groups)
  about = f"{value_label or 'Values'} for {', '.join(groups)}"
  return picture(title, caption, curves, about, height, draw)


def byte_images(
  title: str,
  images: Sequence[ArrayLike],
  labels: Sequence[str],
  *,
  caption: str = "",
) -> Figure:
  """Strings of bytes as pictures, one under the other, one pixel per byte.

  Args:
    title: names the figure and its files.
    images: each [rows, length] or [length], values in 0..255.
    labels: one line above each picture.
    caption: one or two sentences below the figure.

  Raises:
    ValueError: the numbers of images and labels differ, or there are none.
  """
  if len(images) != len(labels):
    raise ValueError(
      f"figure {title!r} has {len(images)} images and {len(labels)} labels"
    )
  grids = [np.atleast_2d(np.asarray(image, np.uint8)) for image in images]
  curves = {
    label: Series(np.arange(grid.size), grid.ravel())
    for label, grid in zip(labels, grids, strict=True)
  }
  heights = [np.clip(5.2 * g.shape[0] / g.shape[1], 0.2, 2.4) for g in grids]

  def draw(figure):
    ratios = {"height_ratios": heights}
    panels = figure.subplots(len(grids), squeeze=False, gridspec_kw=ratios)
    for axes, grid, label in zip(panels[:, 0], grids, labels, strict=True):
      # "none" keeps one pixel per byte in the SVG, and browsers keep it sharp.
      span = {"vmin": 0, "vmax": 255, "interpolation": "none"}
      picture = axes.imshow(grid, cmap="viridis", aspect="auto", **span)
      axes.set_title(label, loc="left", fontsize=9.5, pad=3)
      axes.set_axis_off()
    place = {"location": "bottom", "aspect": 60, "pad": 0.01}
    bar = figure.colorbar(picture, ax=panels, ticks=range(0, 256, 51), **place)
    bar.set_label("byte")
    bar.outline.set_visible(False)

  about = f"Bytes as pixels, in pictures named {', '.join(labels)}"
  height = sum(heights) + 0.3 * len(grids) + 0.6
  return picture(title, caption, curves, about, height, draw)


def text_samples(
  title: str,
  samples: Mapping[str, bytes | ArrayLike],
  *,
  limit: int = 240,
  caption: str = "",
) -> Table:
  r"""Strings of bytes as text: printable ASCII as it is, the rest as \xNN.

  Args:
    title: names the table.
    samples: name to bytes, or to an array with values in 0..255.
    limit: the most bytes that are shown of each.
    caption: one or two sentences below the table.
  """
  keep = set(range(32, 127)) - {ord("\\")}
  rows = []
  for name, sample in samples.items():
    data = np.asarray(list(sample[:limit]), np.uint8)
    shown = (chr(b) if b in keep else f"\\x{b:02x}" for b in data)
    rows.append((name, "".join(shown) + "…" * (len(sample) > limit)))
  return Table(title, ("source", "bytes"), rows, caption, monospace=True)


def picture(title, caption, curves, about, height, draw) -> Figure:
  if not curves:
    raise ValueError(f"figure {title!r} is empty; give it at least one series")
  svg = _draw(draw, height)
  about = f"{about}. Series: {', '.join(curves)}."
  return Figure(title, caption, _page_ready(svg, title, about), curves)


def _draw(draw: Callable[[Any], None], height: float) -> str:
  import matplotlib
  from matplotlib import figure

  buffer = io.BytesIO()
  # The defaults first: a user's own matplotlibrc shall not change reports.
  with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
    canvas = figure.Figure(figsize=(_WIDTH, height), layout="constrained")
    draw(canvas)
    canvas.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
  return buffer.getvalue().decode()


def _page_ready(svg: str, title: str, about: str) -> str:
  """Strips what changes with the machine; adds names; makes ids unique."""
  prefix = slug(title)
  svg = svg[svg.index("<svg") :]
  svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
  svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
  svg = svg.replace("'DejaVu Sans'", _FONT)
  names = (
    f'<title id="{prefix}-name">{html.escape(title)}</title>\n'
    f' <desc id="{prefix}-about">{html.escape(about)}</desc>\n'
  )
  svg = svg.replace(">\n", f">\n {names}", 1)
  labels = f'role="img" aria-labelledby="{prefix}-name {prefix}-about"'
  return svg.replace("<svg ", f"<svg {labels} ", 1)


def _checked(title: str, name: str, curve: Series) -> Series:
  """The curve in arrays; raises a ValueError when its columns are unequal."""
  columns = [None if c is None else np.asarray(c) for c in curve]
  shapes = {c.shape for c in columns if c is not None}
  if len(shapes) != 1 or len(min(shapes)) != 1 or min(shapes) == (0,):
    raise ValueError(
      f"series {name!r} of figure {title!r} has columns of shapes "
      f"{sorted(shapes)}; they need one length, at least 1"
    )
  return Series(*columns)


def _grouped(title, groups, series, errors) -> dict[str, Series]:
  """The series over their groups, with their intervals, checked."""
  unknown = sorted(set(errors) - set(series))
  if unknown:
    raise ValueError(f"errors of {unknown} are not among {list(series)}")
  curves = {n: Series(groups, y, *errors.get(n, ())) for n, y in series.items()}
  return {name: _checked(title, name, c) for name, c in curves.items()}


def _spread(curve: Series) -> np.ndarray | None:
  """Distances to the two ends of the intervals, as matplotlib wants them."""
  if curve.low is None or curve.high is None:
    return None
  return np.maximum([curve.y - curve.low, curve.high - curve.y], 0)


def _curve(axes, i: int, name: str, curve: Series, dots: bool) -> tuple:
  """Draws one curve; returns its name, its last point and its colour."""
  colour, dash = _COLOURS[i % 7], "none" if dots else _DASHES[i // 7 % 3]
  # Thinned for the page; the CSV keeps every point.
  N = len(curve.x)
  keep = np.unique(np.linspace(0, N - 1, min(N, _MOST_POINTS)).astype(int))
  x_N, y_N, low_N, high_N = (None if c is None else c[keep] for c in curve)
  marker = "o" if dots or N < 3 else None
  axes.plot(x_N, y_N, ls=dash, color=colour, label=name, marker=marker, ms=4)
  if low_N is not None and high_N is not None:
    axes.fill_between(x_N, low_N, high_N, color=colour, alpha=0.16, lw=0)
  finite = np.isfinite(y_N)
  last = (x_N[finite][-1], y_N[finite][-1]) if finite.any() else (np.nan,) * 2
  return name, *map(float, last), colour


def _plain_ticks(axis, log: bool = False) -> None:
  """Ticks as 0.5, 200, 5k and 1M; on a wide logarithm only decades."""
  from matplotlib import ticker

  big = ticker.EngFormatter(sep="")
  name = lambda value, _: f"{value:g}" if abs(value) < 1e3 else big(value)
  axis.set_major_formatter(name)
  if log:
    low, high = axis.get_view_interval()
    wide = low <= 0 or high / low > 10
    axis.set_minor_formatter(ticker.NullFormatter() if wide else name)


def _legend(figure, axes) -> None:
  """All names above the plot, in as many columns as the longest allows."""
  handles, names = axes.get_legend_handles_labels()
  columns = int(np.clip(68 // (max(map(len, names)) + 6), 1, 4))
  figure.legend(handles, names, loc="outside upper left", ncols=columns)


def _end_labels(axes, ends: Sequence[tuple]) -> None:
  """Names to the right of the plot at their heights, pushed apart."""
  from matplotlib import colors

  to_share = axes.transData + axes.transAxes.inverted()
  right = axes.get_xlim()[1]
  labels = [
    (to_share.transform((x or right, y)), textwrap.wrap(name, 20), colour)
    for name, x, y, colour in ends
    if np.isfinite(y)
  ]
  labels.sort(key=lambda label: label[0][1])
  # The plot is about 210 points high, a line of text 13.
  sizes = [13 / 210 * len(words) for _, words, _ in labels]
  places = _apart([share[1] for share, _, _ in labels], sizes)
  for (share, words, colour), place in zip(labels, places, strict=True):
    leader = {"arrowstyle": "-", "color": colour, "lw": 0.8}
    leader |= {"relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 0}
    look = {"va": "center", "annotation_clip": False, "arrowprops": leader}
    # Letters are darker than lines, to be read on white.
    look["color"] = [0.75 * c for c in colors.to_rgb(colour)]
    where = share, (1.035, place), "axes fraction"
    axes.annotate("\n".join(words), *where, **look)


def _apart(centres: Sequence[float], sizes: Sequence[float]) -> list[float]:
  """Sorted centres moved so that labels of these sizes do not overlap."""
  places = np.array(centres, float)
  for _ in range(200):
    for i in range(len(places) - 1):
      gap = (sizes[i] + sizes[i + 1]) / 2 - (places[i + 1] - places[i])
      places[i : i + 2] += np.array([-1, 1]) * max(gap, 0) / 2
  return places.tolist()
