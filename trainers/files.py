"""Files that are whole or absent, and a folder that is known to be writable."""

from collections.abc import Mapping
import dataclasses
import errno
import json
import math
import os
import pathlib
import tempfile
from typing import Any
import uuid


class InputError(ValueError):
  """What a path leads to is not what is needed; the message says what is."""


_REMEDY = {
  errno.EEXIST: "a file has this name; choose another folder",
  errno.ENOTDIR: "a part of this path is a file; choose another folder",
  errno.EACCES: "no permission; change its owner or choose another folder",
  errno.EPERM: "no permission; change its owner or choose another folder",
  errno.EROFS: "the disk is read-only; choose a folder on another disk",
  errno.ENOSPC: "the disk is full; free some space or use another disk",
  errno.EDQUOT: "the quota is used up; free some space or use another disk",
  errno.EFBIG: "files may not be that large here; use another disk",
  errno.EIO: "the disk fails; choose another folder, on another disk",
  errno.ESTALE: "the mount is gone; mount it again",
}


def remedy(error: OSError) -> str | None:
  """What a person can do about a disk that fails; None if it is not that."""
  return _REMEDY.get(error.errno)


def prepare_workdir(path: str | os.PathLike) -> pathlib.Path:
  """Creates a folder with its parents, and proves that it can be written.

  Args:
    path: a local folder; `~` is the home folder. It may exist.

  Returns:
    The absolute path.

  Raises:
    InputError: the folder cannot be written; says why and what to do.
  """
  text = os.fspath(path)
  if "://" in text:
    raise InputError(
      f"workdir={text!r} is a URL; give a local or mounted folder"
    )
  root = pathlib.Path(text).expanduser().absolute()
  try:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=root) as probe:
      probe.write(b"simplex")
  except OSError as error:
    why = remedy(error) or f"{error.strerror}; choose another folder"
    raise InputError(f"workdir={text!r} cannot be written: {why}") from error
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


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes `plain(value)` as strict JSON, whole or not at all."""
  text = json.dumps(plain(value), indent=2, allow_nan=False)
  write_atomic(path, text + "\n")


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


def plain(value: Any) -> Any:
  """The value in the types of strict JSON.

  Dataclasses and NamedTuples become objects, arrays become lists, functions
  their names, and what is not finite null; other things become text.
  """
  if value is None or isinstance(value, bool | int | str):
    return value
  if isinstance(value, float):
    return float(value) if math.isfinite(value) else None
  if callable(value):
    return getattr(value, "__name__", str(value))
  if dataclasses.is_dataclass(value):
    value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
  if hasattr(value, "_asdict"):
    value = value._asdict()
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if hasattr(value, "tolist"):
    return plain(value.tolist())
  if isinstance(value, list | tuple | set | frozenset):
    return [plain(item) for item in value]
  return str(value)
