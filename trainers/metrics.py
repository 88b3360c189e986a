"""Metrics as lines of JSON and in TensorBoard: one writer, one reader."""

from collections.abc import Callable, Mapping
import json
import math
import pathlib
import time

import jax
import numpy as np

from simplex.types import Metrics
from trainers import files

Row = Mapping[str, float]


class Writer:
  """Appends rows to `workdir/metrics.jsonl`, one call late.

  Each row has its "step" and the "seconds" since the file was opened.
  A row is fetched from the device only when the next one arrives, by which
  time the device has been given its next steps and never waits for the host.
  """

  def __init__(
    self,
    workdir: str,
    *,
    step: int = 0,
    on_row: Callable[[Row], None] = lambda row: None,
  ):
    """Opens the metrics of a run that continues from `step`.

    Args:
      workdir: an existing folder.
      step: rows at or after it are dropped: they are about to be made again.
      on_row: told of every row once it is written.
    """
    from tensorboardX import SummaryWriter

    root = pathlib.Path(workdir)
    path = root / "metrics.jsonl"
    self._on_row = on_row
    self._opened = time.monotonic()
    self._pending = None
    self._file = self._board = None
    if jax.process_index() == 0:
      kept = [row for row in _rows(path) if row["step"] < step]
      files.write_atomic(path, "".join(map(_line, kept)))
      self._file = path.open("a", buffering=1)  # a line at a time
      self._board = SummaryWriter(str(root / "tensorboard"), purge_step=step)

  def __enter__(self):
    return self

  def __exit__(self, *exc_info):
    try:
      self.flush()
    finally:
      if self._board:
        self._file.close()
        self._board.close()

  def write(self, step: int, metrics: Metrics) -> None:
    """Queues a row and writes the previous one.

    Args:
      step: updates done before these metrics were computed.
      metrics: name to scalar, still on the device if it likes.

    Raises:
      FloatingPointError: the previous row's loss or update is not finite.
    """
    self.flush()
    self._pending = (step, dict(metrics))

  def flush(self) -> None:
    """Writes the queued row now; raises as `write` does."""
    if self._pending is None:
      return
    step, metrics = self._pending
    self._pending = None
    values = jax.device_get(metrics)
    seconds = round(time.monotonic() - self._opened, 3)
    row = {"step": step, "seconds": seconds}
    row |= {name: float(x) for name, x in values.items()}
    if self._board:
      self._file.write(_line(row))
      for name, value in row.items():
        self._board.add_scalar(name, value, step)
      self._on_row(row)
    for name in ("loss", "update_norm"):
      if not math.isfinite(row.get(name, 0.0)):
        raise FloatingPointError(
          f"{name} is {row[name]} at step {step}; metrics there: {row}"
        )


def read(workdir: str, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the steps at which `name` was written, and its values.

  Raises:
    KeyError: no row has `name`; the message lists the names there are.
  """
  rows = _rows(pathlib.Path(workdir) / "metrics.jsonl")
  by_step = {row["step"]: row[name] for row in rows if name in row}
  if not by_step:
    raise KeyError(
      f"no metric {name!r}; there are {sorted(set().union(*rows))}"
    )
  steps = np.array(sorted(by_step))
  return steps, np.array([by_step[step] for step in steps])


def _line(row: Row) -> str:
  strict = {k: v if math.isfinite(v) else None for k, v in row.items()}
  return json.dumps(strict) + "\n"


def _rows(path: pathlib.Path) -> list[dict[str, float]]:
  """The rows of a file; a last line torn by a crash is left out."""
  if not path.exists():
    return []
  whole = path.read_text().split("\n")[:-1]
  return [
    {k: math.nan if v is None else v for k, v in json.loads(line).items()}
    for line in whole
  ]
