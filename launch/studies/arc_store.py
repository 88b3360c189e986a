"""What was seen of tasks, on disk: a file for each, whole or absent."""

import io
import pathlib

import numpy as np

from launch.studies.arc_rows import Lane, Picture, Row
from trainers import files


def folder(workdir: str) -> pathlib.Path:
  """Where the tasks of a run are, made if need be."""
  path = pathlib.Path(workdir) / "tasks"
  path.mkdir(parents=True, exist_ok=True)
  return path


def save(folder: pathlib.Path, row: Row, picture: Picture) -> None:
  """Writes a task; with its row it is done."""
  buffer = io.BytesIO()
  np.savez_compressed(buffer, **picture._asdict())
  files.write_atomic(folder / f"{row.name}.npz", buffer.getvalue())
  files.write_json(folder / f"{row.name}.json", row)


def has(folder: pathlib.Path, name: str) -> bool:
  """Whether a task is done."""
  return (folder / f"{name}.json").exists()


def row(folder: pathlib.Path, name: str) -> Row:
  """What was seen of a task that is done."""
  found = Row(**files.read_json(folder / f"{name}.json"))
  return found._replace(lanes=[_lane(**lane) for lane in found.lanes])


def _lane(stays, **fields) -> Lane:
  """JSON has null for what is not finite."""
  finite = {k: np.nan if x is None else x for k, x in fields.items()}
  return Lane(stays=stays, **finite)


def picture(folder: pathlib.Path, name: str) -> Picture:
  """The first test grid of a task that is done."""
  with np.load(folder / f"{name}.npz") as stored:
    return Picture(**stored)
