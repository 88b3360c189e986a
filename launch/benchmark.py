r"""Measures speed: medians of interleaved rounds, and ratios within one run.

python -m launch.benchmark --op=train_step
python -m launch.benchmark --op=all --output=benchmarks/my_machine.json

Peers (torch) are measured beside ours when they can be imported.
"""

from collections.abc import Mapping, Sequence
import importlib
import os
import pathlib
import pkgutil
import platform
from typing import Any

from absl import app, flags
import jax

from launch import benchmarks, process
from trainers import files

NAMES = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__))

_OP = flags.DEFINE_enum("op", "all", [*NAMES, "all"], "What to measure.")
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


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  process.prepare()
  machine, found, text = _machine(), {}, []
  print(machine)
  for name in NAMES if _OP.value == "all" else [_OP.value]:
    module = importlib.import_module(f"launch.benchmarks.{name}")
    found[name] = module.run()
    text += [f"## {name}", "", table(found[name]), ""]
    print("\n".join(text[-4:]), flush=True)
  if _OUTPUT.value:
    path = pathlib.Path(_OUTPUT.value)
    files.write_json(path, {"machine": machine, "rows": found})
    files.write_atomic(
      path.with_suffix(".md"), "\n".join([f"# {machine}", "", *text])
    )


if __name__ == "__main__":
  app.run(main)
