"""A report: the paper's claims beside ours, and the curves behind them."""

from collections.abc import Iterator, Mapping, Sequence
import csv
import html
from importlib import metadata
import io
import itertools
import pathlib
import platform
import re
import textwrap
from typing import Any, NamedTuple

import jax
import numpy as np

from trainers import files


class Claim(NamedTuple):
  """One sentence of the paper, and what we measured.

  Attributes:
    text: the sentence.
    paper: the paper's number, or what it says instead of a number.
    ours: our number; None where nothing was measured.
    interval: the ends of our 95 % interval over seeds.
    unit: of both numbers.
    size: at which ours was measured: `0.13M parameters, 4M tokens`.
    holds: None means not measured at this size.
  """

  text: str
  paper: str | float | None = None
  ours: float | None = None
  interval: tuple[float, float] | None = None
  unit: str = ""
  size: str = ""
  holds: bool | None = None


class Figure(NamedTuple):
  """A picture, and the numbers in it.

  Attributes:
    title: names the figure and its files.
    caption: one or two sentences.
    svg: the picture.
    curves: name to columns (x, y) or (x, y, low, high); None is no column.
  """

  title: str
  caption: str
  svg: str
  curves: Mapping[str, Sequence[Any]]


class Table(NamedTuple):
  """Rows of text and numbers; `monospace` for samples of text."""

  title: str
  columns: Sequence[str]
  rows: Sequence[Sequence[Any]]
  caption: str = ""
  monospace: bool = False


class Report(NamedTuple):
  """What a run found; `summary` and each of the notes are one paragraph."""

  title: str
  summary: str = ""
  claims: Sequence[Claim] = ()
  figures: Sequence[Figure] = ()
  tables: Sequence[Table] = ()
  notes: Sequence[str] = ()


def write(
  report: Report,
  workdir: str | pathlib.Path,
  *,
  preset: str,
  config: Any,
  seconds: float,
) -> None:
  """Writes the report as a page, as text, as data and as pictures.

  `report.html` needs no other file; `report.md` shows one `.svg` per figure;
  `report.json` is strict JSON, where null stands for what is not a number;
  there is one CSV per curve. Each file is whole or absent. With several
  processes only the first writes.

  Args:
    report: the findings.
    workdir: an existing folder.
    preset: which sizes the run began from.
    config: the settings, a dataclass.
    seconds: how long the run took.
  """
  if jax.process_index() != 0:
    return
  root = pathlib.Path(workdir)
  run = {"preset": preset, "config": files.plain(config)}
  run |= {"seconds": float(seconds), **_machine()}
  figures = [
    {"title": f.title, "caption": f.caption, "svg": svg, "curves": curves}
    for f, svg, curves in _named(report.figures)
  ]
  data = {"title": report.title, **run, **report._asdict(), "figures": figures}
  for figure, svg, csvs in _named(report.figures):
    files.write_atomic(root / svg, figure.svg)
    for curve, name in csvs.items():
      files.write_atomic(root / name, _csv(figure.curves[curve]))
  files.write_atomic(root / "report.md", _markdown(report, run))
  files.write_atomic(root / "report.html", _page(report, run))
  files.write_json(root / "report.json", data)


def summary(report: Report) -> str:
  """The claims as plain lines for a terminal, at most 100 columns wide."""
  rows = [("", "claim", "ours", "paper")]
  rows += [(verdict(c), c.text, _ours(c), _paper(c)) for c in report.claims]
  lines = textwrap.wrap(report.title, 100)
  for row in rows:
    widths = (13, 43, 25, 13)
    cells = [textwrap.wrap(*a) for a in zip(row, widths, strict=True)]
    for parts in itertools.zip_longest(*cells, fillvalue=""):
      padded = (f"{p:{w}}" for p, w in zip(parts, widths, strict=True))
      lines.append("  ".join(padded).rstrip())
  return "\n".join(lines)


def verdict(claim: Claim) -> str:
  if claim.holds is None:
    return "not measured at this size"
  return "holds" if claim.holds else "does not hold"


def slug(text: str) -> str:
  """A name for files and ids: lower case letters, digits and dashes."""
  return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60] or "unnamed"


def number(value: Any) -> str:
  """As 3.064, 123.4, 1,234,567 or 1.2e-05; other things as they are."""
  value = value.item() if hasattr(value, "item") else value
  if value is None or value != value:
    return "–"
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  if isinstance(value, int) or 1e3 <= abs(value) < 1e15:
    return f"{value:,.0f}"
  if 0.1 <= abs(value) < 1e3:
    return f"{value:.{3 if abs(value) < 100 else 1}f}"
  return f"{value:.3g}"


def _ours(claim: Claim) -> str:
  if number(claim.ours) == "–":
    return "–"
  text = f"{number(claim.ours)} {claim.unit}".strip()
  ends = [number(end) for end in claim.interval or ()]
  return text if "–" in ends or not ends else f"{text} [{', '.join(ends)}]"


def _paper(claim: Claim) -> str:
  if claim.paper is None or isinstance(claim.paper, str):
    return claim.paper or "–"
  # As it was given: more digits than the paper has would claim too much.
  return f"{claim.paper:,} {claim.unit}".strip()


_COLUMNS = ("claim", "paper", "ours, with 95 % interval", "size", "verdict")


def _cells(claim: Claim) -> list[str]:
  numbers = [_paper(claim), _ours(claim)]
  return [claim.text, *numbers, claim.size or "–", verdict(claim)]


def _settings(config: Any, path: str = "") -> Iterator[str]:
  """Lines as `--set` takes them: `model.width=32`."""
  if isinstance(config, Mapping) and config:
    for key, value in config.items():
      yield from _settings(value, f"{path}.{key}" if path else key)
  else:
    yield f"{path}={config}"


def _machine() -> dict[str, Any]:
  devices = jax.devices()
  versions = {"python": platform.python_version()}
  for name in ("jax", "jaxlib", "flax", "optax", "simplex"):
    try:
      versions[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      versions[name] = "not installed"
  device = f"{len(devices)} x {devices[0].device_kind}"
  return {"device": device, "versions": versions}


def _facts(run: Mapping[str, Any]) -> str:
  time = f"{run['seconds']:,.1f} s"
  return f"preset {run['preset']} · {run['device']} · {time}"


def _named(figures: Sequence[Figure]):
  """Each figure, its .svg and its curves' .csv; no two files share a name."""
  seen: set[str] = set()

  def free(name: str, suffix: str) -> str:
    ends = itertools.chain([""], (f"-{i}" for i in itertools.count(2)))
    names = (f"{name}{end}{suffix}" for end in ends)
    found = next(n for n in names if n not in seen)
    seen.add(found)
    return found

  for figure in figures:
    root = slug(figure.title)
    svg = free(root, ".svg")
    csvs = {c: free(f"{root}-{slug(c)}", ".csv") for c in figure.curves}
    yield figure, svg, csvs


def _csv(curve: Sequence[Any]) -> str:
  columns = [np.asarray(column) for column in curve if column is not None]
  buffer = io.StringIO()
  rows = csv.writer(buffer, lineterminator="\n")
  rows.writerow(("x", "y", "low", "high")[: len(columns)])
  rows.writerows(zip(*columns, strict=True))
  return buffer.getvalue()


def _markdown(report: Report, run: Mapping[str, Any]) -> str:
  parts = [f"# {report.title}", report.summary]
  if report.claims:
    parts += [_grid(_COLUMNS, map(_cells, report.claims))]
  for figure, svg, _ in _named(report.figures):
    parts += [f"## {figure.title}", f"![{figure.title}]({svg})", figure.caption]
  for table in report.tables:
    grid = _grid(table.columns, table.rows, table.monospace)
    parts += [f"## {table.title}", grid, table.caption]
  parts += [*report.notes, "## This run"]
  code = [*_settings(run["config"]), *_settings(run["versions"])]
  parts += [_facts(run), "\n".join(["```", *code, "```"])]
  return "\n\n".join(filter(None, parts)) + "\n"


def _grid(columns, rows, monospace: bool = False) -> str:
  """A table in Markdown, with the signs that would break it escaped."""

  def cell(value: Any) -> str:
    text = " ".join(number(value).split()).replace("|", "\\|")
    if monospace and isinstance(value, str):
      return f"`` {text} ``"
    return text.replace("<", "&lt;")

  lines = [columns, ["-"] * len(columns)]
  lines += [[cell(value) for value in row] for row in rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _page(report: Report, run: Mapping[str, Any]) -> str:
  """One page that needs no other file; every text is escaped."""
  title = html.escape(report.title)
  figures = "".join(
    f"<figure><h2>{html.escape(f.title)}</h2><div class='card'>{f.svg}</div>"
    f"<figcaption>{html.escape(f.caption)}</figcaption></figure>"
    for f in report.figures
  )
  notes = "".join(f"<p>{html.escape(note)}</p>" for note in report.notes)
  tables = "".join(map(_table, report.tables))
  settings = html.escape("\n".join(_settings(run["config"])))
  versions = html.escape("\n".join(_settings(run["versions"])))
  return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title><style>{_CSS}</style></head><body><main>
<h1>{title}</h1><p class="facts">{html.escape(_facts(run))}</p>
<p class="lead">{html.escape(report.summary)}</p>
{_claims(report.claims)}{figures}{tables}{notes and "<h2>Notes</h2>" + notes}
<details><summary>Settings</summary><pre>{settings}</pre></details>
<details><summary>Versions</summary><pre>{versions}</pre></details>
</main></body></html>
"""


def _claims(claims: Sequence[Claim]) -> str:
  head = "".join(f"<th>{name}</th>" for name in _COLUMNS)
  rows = []
  for claim in claims:
    kind = "open" if claim.holds is None else "yes" if claim.holds else "no"
    cells = [html.escape(cell) for cell in _cells(claim)]
    cells[-1] = f"<b class='badge {kind}'>{cells[-1]}</b>"
    pairs = zip(_COLUMNS, cells, strict=True)
    tds = "".join(f"<td data-name='{n}'>{cell}</td>" for n, cell in pairs)
    rows.append(f"<tr>{tds}</tr>")
  if not rows:
    return ""
  return (
    "<h2>Claims</h2><div class='wide'><table class='claims'>"
    f"<thead><tr>{head}</tr></thead>"
    f"<tbody>{''.join(rows)}</tbody></table></div>"
  )


def _table(table: Table) -> str:
  """Columns whose first row is a number are aligned to the right."""
  first = table.rows[0] if len(table.rows) else table.columns
  kinds = ["text" if isinstance(cell, str) else "number" for cell in first]

  def line(cells: Sequence[Any], tag: str) -> str:
    pairs = zip(cells, kinds, strict=True)
    inner = (
      f"<{tag} class='{kind}'>{html.escape(number(cell))}</{tag}>"
      for cell, kind in pairs
    )
    return f"<tr>{''.join(inner)}</tr>"

  look = "samples" if table.monospace else "plain"
  rows = "".join(line(row, "td") for row in table.rows)
  return (
    f"<section><h2>{html.escape(table.title)}</h2>"
    f"<div class='wide' tabindex='0'><table class='{look}'>"
    f"<thead>{line(table.columns, 'th')}</thead>"
    f"<tbody>{rows}</tbody></table></div>"
    f"<p class='caption'>{html.escape(table.caption)}</p></section>"
  )


_CSS = """
:root { --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --back: #fff;
  --head: #f6f8fa; --yes: #d7f2df; --yes-ink: #0b5a2a; --no: #fde3e1;
  --no-ink: #8c1d18; --open: #eceff2; --open-ink: #4a535c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9aa5b1;
  --line: #30363d; --back: #0d1117; --head: #161b22; --yes: #12391f;
  --yes-ink: #7ee2a0; --no: #4a1a18; --no-ink: #ffb3ad; --open: #262c33;
  --open-ink: #b6c0ca; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, Helvetica,
  Arial, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 960px; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.2rem; line-height: 1.35; margin: 3rem 0 .9rem; }
.facts, figcaption, .caption { color: var(--soft); font-size: .9rem; }
.facts { margin: 0 0 1.5rem; }
.lead { font-size: 1.06rem; max-width: 44rem; }
p, figcaption { overflow-wrap: anywhere; max-width: 44rem; }
figure { margin: 0; }
figcaption, .caption { margin: .7rem 0 0; }
.card { background: #fff; border: 1px solid var(--line); border-radius: 8px;
  padding: 1rem; }
.card svg { display: block; width: 100%; height: auto; max-width: 680px;
  margin: 0 auto; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  line-height: 1.45; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .6rem .8rem; }
th { color: var(--soft); background: var(--head); font-weight: 600;
  font-size: .82rem; line-height: 1.35; vertical-align: bottom; }
tr + tr td { border-top: 1px solid var(--line); }
td.number, th.number { text-align: right; }
td.number { white-space: nowrap; }
.samples td + td { white-space: pre-wrap; word-break: break-all; }
.samples td + td, pre { overflow-x: auto;
  font: .82rem/1.5 ui-monospace, Menlo, Consolas, monospace; }
.badge { display: inline-block; padding: .1rem .6rem; border-radius: .7rem;
  font-size: .8rem; font-weight: 600; white-space: nowrap; }
.yes { background: var(--yes); color: var(--yes-ink); }
.no { background: var(--no); color: var(--no-ink); }
.open { background: var(--open); color: var(--open-ink); }
details { border-top: 1px solid var(--line); padding: .8rem 0; }
details:first-of-type { margin-top: 3rem; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 640px) {
  main { padding: 1.75rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  .card { padding: .5rem; margin: 0 -.5rem; }
  .claims thead { display: none; }
  .claims tr { display: block; padding: .7rem 0; }
  .claims tr + tr { border-top: 1px solid var(--line); }
  .claims td { display: block; border: 0; padding: .2rem .9rem; }
  .claims td:nth-child(n + 2):not(:last-child)::before {
    content: attr(data-name) ": "; color: var(--soft); }
  .claims td:first-child { font-weight: 600; }
  .claims td:last-child { padding-top: .5rem; }
}
"""
