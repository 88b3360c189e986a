"""How often a training was begun, and what it took: the page at its end.

`attempts.jsonl` has a line for each beginning, and one for each orderly end.
"""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import json
import pathlib
import resource
import sys
from typing import Any

import jax
import numpy as np

from trainers import metrics, progress
from trainers.reports import Table, number

NAME = "attempts.jsonl"
COLUMNS = (
  "training",
  "steps",
  "time",
  "steps/s",
  "tokens/s",
  "MFU",
  "final loss",
  "restarts",
  "skipped steps",
  "peak memory",
)


@contextlib.contextmanager
def recorded(
  workdir: str | pathlib.Path,
  *,
  step: int,
  tokens: int,
  ideal_seconds: float,
) -> Iterator[None]:
  """Notes that a training begins in `workdir`, and that it ends.

  Args:
    workdir: an existing folder.
    step: updates done before.
    tokens: in a batch.
    ideal_seconds: of a step at the peak of the devices; 0 where not known.
  """
  begin = {"step": step, "tokens": tokens, "ideal_seconds": ideal_seconds}
  begin |= {"devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}"}
  _append(pathlib.Path(workdir), {"begin": begin})
  try:
    yield
  finally:
    with contextlib.suppress(OSError):  # a full disk may be what ends it
      _append(pathlib.Path(workdir), {"end": {"peak_memory": peak_memory()}})


def peak_memory() -> str:
  """Of the fullest device; where devices do not tell, of this process."""
  stats = [device.memory_stats() or {} for device in jax.local_devices()]
  peak = max(x.get("peak_bytes_in_use", 0) for x in stats)
  if peak:
    return f"{peak / 2**30:.2f} GiB"
  unit = 1 if sys.platform == "darwin" else 1024
  host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
  return f"{host / 2**30:.2f} GiB of the host"


def _append(root: pathlib.Path, row: Mapping[str, Any]) -> None:
  if jax.process_index() == 0:
    with (root / NAME).open("a") as file:
      # A line before it may have been torn by a crash.
      file.write(f"\n{json.dumps(row)}\n")


def table(workdir: str | pathlib.Path) -> Table | None:
  """The trainings below a folder, one a row; None where there are none."""
  root = pathlib.Path(workdir)
  folders = sorted(path.parent for path in root.rglob(NAME))
  if not folders:
    return None
  return Table(
    "Training",
    COLUMNS,
    [_row(folder, str(folder.relative_to(root))) for folder in folders],
    "Rates are medians between rows of metrics, so that evaluation and "
    "compilation are left out. MFU is the share of the devices' peak that the "
    "model's own FLOPs take. Each folder has metrics.jsonl, TensorBoard events "
    "and checkpoints.",
  )


def _row(folder: pathlib.Path, name: str) -> Sequence[Any]:
  noted = _noted(folder / NAME)
  begins = [x["begin"] for x in noted if "begin" in x]
  ends = [x["end"] for x in noted if "end" in x]
  rows = metrics.read_rows(str(folder))
  losses = [row for row in rows if "loss" in row]
  rate = _rate(losses)
  ideal, tokens = begins[-1]["ideal_seconds"], begins[-1]["tokens"]
  steps = int(rows[-1]["step"]) if rows else 0
  return (
    name,
    steps,
    progress.duration(_seconds(rows)),
    rate,
    rate * tokens if rate and tokens else None,
    f"{100 * rate * ideal:.0f} %" if rate and ideal else "–",
    losses[-1]["loss"] if losses else None,
    max(sum(x["step"] < steps for x in begins) - 1, 0),
    int(losses[-1].get("skipped", 0)) if losses else 0,
    ends[-1]["peak_memory"] if ends else "–",
  )


def _rate(rows: Sequence[Mapping[str, float]]) -> float | None:
  """Steps a second, the median between neighbouring rows."""
  steps, seconds = (
    np.diff([row[x] for row in rows]) for x in ("step", "seconds")
  )
  forward = (steps > 0) & (seconds > 0)
  if not forward.any():
    return None
  return float(np.median(steps[forward] / seconds[forward]))


def _seconds(rows: Sequence[Mapping[str, float]]) -> float:
  """All that the rows tell; the clock of a run that goes on may start anew."""
  seconds = np.array([0.0, *(row["seconds"] for row in rows)])
  steps = np.diff(seconds)
  return float(np.where(steps < 0, seconds[1:], steps).sum())


def _noted(path: pathlib.Path) -> list[Mapping[str, Any]]:
  """The lines that are whole."""
  lines = path.read_text().splitlines()
  return [json.loads(line) for line in lines if line.endswith("}}")]


def page(found: Table) -> str:
  """The table turned on its side, for a terminal."""
  columns = [found.columns, *([number(x) for x in row] for row in found.rows)]
  widths = [max(map(len, column)) for column in columns]
  return "\n".join(
    "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip()
    for line in zip(*columns, strict=True)
  )
