r"""Measures speed: medians of interleaved rounds, and ratios within one run.

python -m launch.benchmark --op=train_step
python -m launch.benchmark --op=all --output=benchmarks/my_machine.json
python -m launch.benchmark --suite=gpu    # is it right here, and how fast
python -m launch.benchmark --tune         # block sizes of the GPU kernels

A suite is versions, the conformance of every implementation of every op with
float64, and the benchmarks of the ops, in `benchmarks/<device>.json` and a
`.md` beside it.
Peers (torch) are measured beside ours when they can be imported.
"""

from collections.abc import Mapping, Sequence
import importlib
from importlib import metadata
import os
import pathlib
import pkgutil
import platform
import sys
from typing import Any

from absl import app, flags
import jax

from launch import benchmarks, conformance, process, tuning
from simplex import kernels
from trainers import files, reports

PACKAGES = (
  "jax",
  "jaxlib",
  "jax-triton",
  "triton",
  "jax-cuda13-plugin",
  "libtpu",
)
NAMES = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__))

_OP = flags.DEFINE_enum("op", "all", [*NAMES, "all"], "What to measure.")
_SUITE = flags.DEFINE_enum(
  "suite",
  None,
  ["cpu", "gpu", "tpu"],
  "Conformance and speed of every op, on a device of this kind.",
)
_TUNE = flags.DEFINE_bool(
  "tune", False, "Find the block sizes of the GPU kernels for this device."
)
_OUTPUT = flags.DEFINE_string(
  "output", None, "A .json file for the rows; a .md of the table goes beside."
)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
  """Rows as a Markdown table; a column for every key of any row."""
  columns = list(dict.fromkeys(key for row in rows for key in row))
  cells = [[_cell(row.get(name, "")) for name in columns] for row in rows]
  cells = [columns, ["-"] * len(columns), *cells]
  widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
  line = lambda row: " | ".join(
    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
  )
  return "\n".join(f"| {line(row)} |" for row in cells)


def _cell(value: Any) -> str:
  return f"{value:.4g}" if isinstance(value, float) else str(value)


def _machine() -> str:
  kind = f"{jax.device_count()} x {jax.devices()[0].device_kind}"
  cores = f"{os.cpu_count()} cores {platform.machine()}"
  python = f"Python {platform.python_version()}"
  return f"{kind}, {cores}, jax {jax.__version__}, {python}"


def _measure(name: str) -> tuple[list[dict], dict[str, str]]:
  """The rows of a benchmark, and its figures by name of their file."""
  module = importlib.import_module(f"launch.benchmarks.{name}")
  rows = module.run()
  figures = getattr(module, "figures", lambda rows: [])(rows)
  return rows, {f"{reports.slug(f.title)}.svg": f.svg for f in figures}


def _suite() -> dict[str, list[dict]]:
  """Versions, and conformance as rows that say whether they pass."""
  versions, rows = [], []
  for package in PACKAGES:
    try:
      version = metadata.version(package)
    except metadata.PackageNotFoundError:
      version = "not installed"
    versions.append({"package": package, "version": version})
  print(table(versions), flush=True)
  for row in conformance.run():
    rows.append(row)
    name = f"{row['op']}/{row['case']} {row['dtype']} {row['implementation']}"
    verdict = row.get("missing") or ("ok" if row["passes"] else "FAILS")
    print(f"{name}: {verdict}", flush=True)
  return {"versions": versions, "conformance": rows}


def _check_device(wanted: str) -> None:
  if jax.default_backend() != wanted:
    raise app.UsageError(
      f"a {wanted} is needed, and JAX finds {jax.default_backend()!r} alone: "
      "see python -c 'import jax; print(jax.devices())', and the README for "
      "what to install"
    )


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  process.prepare()
  if _SUITE.value or _TUNE.value:
    _check_device(_SUITE.value or "gpu")
  machine, found, pictures = _machine(), {}, {}
  print(machine, flush=True)
  if _TUNE.value:
    found["tuning"] = list(tuning.run(jax.devices()[0].device_kind))
    print(table(found["tuning"]))
  names = NAMES if _OP.value == "all" else [_OP.value]
  if _SUITE.value:
    found |= _suite()
    names = [name for name in NAMES if name in kernels.__all__]
  elif _TUNE.value:
    names = []
  for name in names:
    found[name], more = _measure(name)
    pictures |= more
    print(f"## {name}\n\n{table(found[name])}\n", flush=True)
  output = _OUTPUT.value
  if _SUITE.value and not output:
    output = f"benchmarks/{reports.slug(jax.devices()[0].device_kind)}.json"
  if output:
    _write(pathlib.Path(output), machine, found, pictures)
  failed = [
    x for x in found.get("conformance", ()) if not x.get("passes", True)
  ]
  if failed:
    sys.exit(f"{len(failed)} of the conformance rows fail")


def _write(path, machine, found, pictures) -> None:
  """Rows as JSON, tables as Markdown beside, and the pictures they show."""
  files.write_json(path, {"machine": machine, "rows": found})
  parts = [f"# {machine}"]
  for name, rows in found.items():
    parts += [f"## {name}", table(rows)]
  for name, svg in pictures.items():
    picture = f"{path.stem}-{name}"
    files.write_atomic(path.with_name(picture), svg)
    parts.append(f"![{name.removesuffix('.svg')}]({picture})")
  files.write_atomic(path.with_suffix(".md"), "\n\n".join(parts) + "\n")


if __name__ == "__main__":
  app.run(main)
