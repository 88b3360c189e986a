"""Folders of other people's models: settings, and tensors in one file or more.

config.json
model.safetensors, or model.safetensors.index.json and the files it names
"""

from collections.abc import Callable, Iterator, Mapping
import os
import pathlib
import shutil
from typing import Any
import uuid

import jax
import numpy as np

from trainers import files, tensor_files

CONFIG = "config.json"
TENSORS = "model.safetensors"
INDEX = ".index.json"  # after the name of the one file that there is not
MAX_FILE_BYTES = 5_000_000_000


def read_settings(folder: str | os.PathLike, name: str = CONFIG) -> dict:
  """The object in a JSON file of the folder.

  Raises:
    ValueError: there is no such file, or it holds something else.
  """
  path = pathlib.Path(folder) / name
  if not path.is_file():
    raise ValueError(f"there is no model in {folder}: {path} does not exist")
  settings = files.read_json(path)
  if not isinstance(settings, dict):
    raise ValueError(f"{path} holds no object, but {settings!r}")
  return settings


def open_tensors(
  folder: str | os.PathLike, name: str = TENSORS
) -> dict[str, np.ndarray]:
  """The tensors by name, read from the disk where they are looked at.

  Raises:
    ValueError: files or tensors are missing, or a file is damaged; names them.
  """
  folder, index = pathlib.Path(folder), name + INDEX
  if (folder / name).is_file():
    return tensor_files.open_tensors(folder / name)
  if not (folder / index).is_file():
    raise ValueError(f"{folder} has neither {name} nor {index}")
  where = read_settings(folder, index).get("weight_map")
  if not isinstance(where, dict):
    raise ValueError(f"{folder / index} has no weight_map")
  names = sorted(set(where.values()))
  if missing := [x for x in names if not (folder / x).is_file()]:
    raise ValueError(f"{folder} has none of the files {missing} of its {index}")
  parts = {x: tensor_files.open_tensors(folder / x) for x in names}
  if lost := [x for x, file in where.items() if x not in parts[file]]:
    raise ValueError(f"{folder / index} names tensors that no file has: {lost}")
  return {x: parts[file][x] for x, file in where.items()}


def place(
  like: Any,
  read: Callable[[Any], np.ndarray],
  dtype: Any,
  sharding: jax.sharding.Sharding | None = None,
) -> jax.Array:
  """An array of which each device, and each process, reads its own part.

  Args:
    like: has the shape.
    read: the part at an index, a tuple of slices.
    dtype: of the array.
    sharding: None is the default device.
  """
  if sharding is None:
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])

  def part(index):
    x = read(index)
    # Views are copied: JAX may keep what it is given, and files may change.
    return x.astype(dtype, order="C", copy=not x.flags.owndata)

  return jax.make_array_from_callback(like.shape, sharding, part)


def write(
  folder: str | os.PathLike,
  settings: Mapping[str, Any],
  like: Mapping[str, Any],
  read: Callable[[str], np.ndarray],
  *,
  max_file_bytes: int = MAX_FILE_BYTES,
  settings_name: str = CONFIG,
  tensors_name: str = TENSORS,
) -> None:
  """Makes a folder of settings and tensors, whole or not at all.

  Args:
    folder: does not exist, or is empty; its parent is made.
    settings: for the JSON file.
    like: a shape and a dtype of each tensor, by name.
    read: the tensor of a name; one is in memory at a time.
    max_file_bytes: tensors that are more go into several files.
    settings_name: of the JSON file.
    tensors_name: of the file of tensors, where one is enough.

  Raises:
    ValueError: the folder holds something, or cannot be written.
  """
  folder = pathlib.Path(folder).absolute()
  if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
    raise ValueError(f"{folder} is there already: choose a new folder")
  files.prepare_workdir(folder.parent)
  temporary = folder.with_name(f".{uuid.uuid4().hex}.tmp")
  temporary.mkdir()
  try:
    files.write_json(temporary / settings_name, settings)
    _write_tensors(temporary, tensors_name, like, read, max_file_bytes)
    os.replace(temporary, folder)
  finally:
    shutil.rmtree(temporary, ignore_errors=True)


def _write_tensors(folder, name, like, read, max_file_bytes):
  parts = list(_parts(like, max_file_bytes))
  if len(parts) == 1:
    tensor_files.write_tensors(folder / name, like, read)
    return
  stem, where = name.removesuffix(".safetensors"), {}
  for i, part in enumerate(parts, 1):
    file = f"{stem}-{i:05}-of-{len(parts):05}.safetensors"
    tensor_files.write_tensors(folder / file, part, read)
    where |= dict.fromkeys(part, file)
  total = sum(map(tensor_files.num_bytes, like.values()))
  index = {"metadata": {"total_size": total}, "weight_map": where}
  files.write_json(folder / (name + INDEX), index)


def _parts(like, max_bytes) -> Iterator[dict[str, Any]]:
  """The tensors of each file, in their order."""
  part, size = {}, 0
  for name, x in like.items():
    if part and size + tensor_files.num_bytes(x) > max_bytes:
      yield part
      part, size = {}, 0
    part[name] = x
    size += tensor_files.num_bytes(x)
  yield part
