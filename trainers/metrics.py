"""Metrics as lines of JSON and in TensorBoard: one writer, one reader.

What `Writer.sync` has put on the disk survives a crash; a run that continues
removes what came after, so that every row is there once.
"""

from collections.abc import Callable, Mapping
import json
import math
import os
import pathlib
import socket
import time
from typing import Any

from absl import logging
import jax
import numpy as np

from simplex.types import Metrics
from trainers import files

Row = Mapping[str, float]


class Writer:
  """Appends rows to `workdir/metrics.jsonl`, one call late.

  Each row has its "step" and the "seconds" that the run has taken, those
  before it was stopped and continued included.
  A row is fetched from the device only when the next one arrives, by which
  time the device has been given its next steps and never waits for the host.
  """

  def __init__(
    self,
    workdir: str,
    *,
    step: int = 0,
    max_skipped: int = 0,
    on_row: Callable[[Row], None] = lambda row: None,
  ):
    """Opens the metrics of a run that continues from `step`.

    Args:
      workdir: an existing folder.
      step: rows at or after it are dropped: they are about to be made again.
      max_skipped: steps in a row that may have been undone, because a loss or
        an update was not finite.
      on_row: told of every row once it is written.
    """
    root = pathlib.Path(workdir)
    path = root / "metrics.jsonl"
    self._on_row = on_row
    self._max_skipped = max_skipped
    self._opened = time.monotonic()
    self._pending = None
    self._file = self._board = None
    if jax.process_index() == 0:
      kept = [row for row in _rows(path) if row["step"] < step]
      self._opened -= kept[-1]["seconds"] if kept else 0.0
      files.write_atomic(path, "".join(map(_line, kept)))
      self._file = path.open("a", buffering=1)  # a line at a time
      self._board = _open_board(root / "tensorboard", step)

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
      OSError: the disk is full, or fails in another way.
    """
    self.flush()
    self._pending = (step, dict(metrics))

  def flush(self) -> None:
    """Writes the queued row now; raises as `write` does."""
    if self._pending is None:
      return
    row = self._row(*self._pending)
    self._pending = None
    if self._board:
      self._file.write(_line(row))
      self._board.write(_event(row))
      self._on_row(row)
    _check(row, self._max_skipped)

  def sync(self, step: int, metrics: Metrics) -> None:
    """Prepares for a save after `step`, whose metrics need not be written.

    Waits until the rows before are on the disk, so that they are not behind
    the checkpoint after a crash. Raises as `write` does, so that a broken state
    is not saved.
    """
    self.flush()
    _check(self._row(step, metrics), self._max_skipped)
    if self._board:
      os.fsync(self._file.fileno())
      self._board.flush()

  def _row(self, step, metrics):
    seconds = round(time.monotonic() - self._opened, 3)
    values = jax.device_get(metrics)
    return {"step": step, "seconds": seconds} | {
      name: float(x) for name, x in values.items()
    }


def read_rows(workdir: str) -> list[Row]:
  """All rows in the order in which they were written."""
  return _rows(pathlib.Path(workdir) / "metrics.jsonl")


def read(workdir: str, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the steps at which `name` was written, and its values.

  Raises:
    KeyError: no row has `name`; the message lists the names there are.
  """
  rows = read_rows(workdir)
  by_step = {row["step"]: row[name] for row in rows if name in row}
  if not by_step:
    raise KeyError(
      f"no metric {name!r}; there are {sorted(set().union(*rows))}"
    )
  steps = np.array(sorted(by_step))
  return steps, np.array([by_step[step] for step in steps])


def _check(row: Row, max_skipped: int) -> None:
  """Raises FloatingPointError if training has broken."""
  for name in ("loss", "update_norm"):
    if math.isfinite(row.get(name, 0.0)):
      continue
    times = int(row.get("skipped_in_a_row", 1))
    if times > max_skipped:
      again = f", {times} times in a row" if times > 1 else ""
      raise FloatingPointError(
        f"{name} is {row[name]} at step {row['step']}{again}; "
        f"metrics there: {row}"
      )


def _open_board(folder: pathlib.Path, step: int) -> Any:
  """A file of TensorBoard's events, which hides older ones from `step` on.

  Not tensorboardX's SummaryWriter: it writes from a thread of its own, and
  events before a checkpoint can be lost in a crash after it.
  """
  from tensorboardX import record_writer
  from tensorboardX.proto import event_pb2

  folder.mkdir(exist_ok=True)
  # TensorBoard reads the files of a folder in the order of their names.
  name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
  board = record_writer.RecordWriter(str(folder / name))
  version = event_pb2.Event(wall_time=time.time(), file_version="brain.Event:2")
  start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
  purge = event_pb2.Event(wall_time=time.time(), step=step, session_log=start)
  for event in (version, purge):
    board.write(event.SerializeToString())
  return board


def _event(row: Row) -> bytes:
  from tensorboardX.proto import event_pb2, summary_pb2

  values = [
    summary_pb2.Summary.Value(tag=name, simple_value=value)
    for name, value in row.items()
  ]
  summary = summary_pb2.Summary(value=values)
  event = event_pb2.Event(
    wall_time=time.time(), step=row["step"], summary=summary
  )
  return event.SerializeToString()


def _line(row: Row) -> str:
  strict = {k: v if math.isfinite(v) else None for k, v in row.items()}
  return json.dumps(strict) + "\n"


def _rows(path: pathlib.Path) -> list[dict[str, float]]:
  """The rows of a file; a last line torn by a crash is left out."""
  if not path.exists():
    return []
  rows = []
  *whole, _ = path.read_text(errors="replace").split("\n")
  for number, line in enumerate(whole, 1):
    try:
      row = json.loads(line)
    except json.JSONDecodeError as error:
      logging.warning("%s, line %d is no row, skipped: %s", path, number, error)
      continue
    rows.append({k: math.nan if v is None else v for k, v in row.items()})
  return rows
