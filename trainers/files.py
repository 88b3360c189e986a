"""Files that are whole or absent, and a folder that is known to be writable."""

import errno
import json
import os
import pathlib
import tempfile
from typing import Any
import uuid

_REMEDY = {
  errno.EEXIST: "a file has this name; choose another folder",
  errno.ENOTDIR: "a part of this path is a file; choose another folder",
  errno.EACCES: "no permission; change its owner or choose another folder",
  errno.EPERM: "no permission; change its owner or choose another folder",
  errno.EROFS: "the disk is read-only; choose a folder on another disk",
  errno.ENOSPC: "the disk is full; free some space or use another disk",
}


def prepare_workdir(path: str | os.PathLike) -> pathlib.Path:
  """Creates a folder with its parents, and proves that it can be written.

  Args:
    path: a local folder; `~` is the home folder. It may exist.

  Returns:
    The absolute path.

  Raises:
    ValueError: the folder cannot be written; says why and what to do.
  """
  text = os.fspath(path)
  if "://" in text:
    raise ValueError(
      f"workdir={text!r} is a URL; give a local or mounted folder"
    )
  root = pathlib.Path(text).expanduser().absolute()
  try:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as probe:
      probe.write(b"simplex")
  except OSError as error:
    why = f"{error.strerror}; choose another folder"
    why = _REMEDY.get(error.errno, why)
    raise ValueError(f"workdir={text!r} cannot be written: {why}") from error
  return root


def write_atomic(path: str | os.PathLike, content: str | bytes) -> None:
  """Writes a file that readers see whole: the old content, or the new.

  The bytes go to a temporary file in the same folder, reach the disk, and then
  take the name. A failure leaves the old file and no temporary one.

  Args:
    path: the file; its folder exists.
    content: text is stored as UTF-8 with its line ends as they are.
  """
  path = pathlib.Path(path)
  data = content.encode() if isinstance(content, str) else content
  # Not `tempfile`: its files can be read by their owner alone.
  temporary = path.with_name(f".{uuid.uuid4().hex}.tmp")
  try:
    with temporary.open("xb") as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def read_json(path: str | os.PathLike) -> Any:
  """The value in a JSON file.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: the file is not JSON; names the file and the line.
  """
  text = pathlib.Path(path).read_text(encoding="utf-8")
  try:
    return json.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(f"{os.fspath(path)} is not JSON: {error}") from error
