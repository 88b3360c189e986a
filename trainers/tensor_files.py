"""Files in the format of `safetensors`, read without a copy and written whole.

https://huggingface.co/docs/safetensors: eight bytes that say how long the
header is, a header in JSON, `{name: {dtype, shape, data_offsets}}`, and the
arrays, one after another.
"""

from collections.abc import Callable, Mapping
import json
import math
import os
import pathlib
import struct
from typing import Any

import ml_dtypes
import numpy as np

DTYPES = {
  "BOOL": np.bool_,
  "U8": np.uint8,
  "I8": np.int8,
  "I16": np.int16,
  "U16": np.uint16,
  "I32": np.int32,
  "U32": np.uint32,
  "I64": np.int64,
  "U64": np.uint64,
  "F8_E4M3": ml_dtypes.float8_e4m3fn,
  "F8_E5M2": ml_dtypes.float8_e5m2,
  "F16": np.float16,
  "BF16": ml_dtypes.bfloat16,
  "F32": np.float32,
  "F64": np.float64,
}
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def open_tensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """The arrays of a file by name, read from the disk where they are looked at.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is cut short, or not of this format; says which.
  """
  path = pathlib.Path(path)
  size = path.stat().st_size
  header, start = _header(path, size)
  header.pop("__metadata__", None)
  try:
    places = {name: _place(**entry) for name, entry in header.items()}
  except (AttributeError, TypeError, ValueError) as error:
    raise ValueError(f"{path} has a damaged header: {error}") from error
  end = start + max((end for *_, end in places.values()), default=0)
  if size != end:
    what = "is cut short" if size < end else "has more than its header tells"
    raise ValueError(f"{path} {what}: {size} bytes, not {end}")
  data = np.memmap(path, np.uint8, "r")
  return {
    name: np.ndarray(shape, dtype, data, start + first)
    for name, (dtype, shape, first, _) in places.items()
  }


def write_tensors(
  path: str | os.PathLike,
  like: Mapping[str, Any],
  read: Callable[[str], np.ndarray],
) -> None:
  """Writes a file, one array at a time.

  Args:
    path: a new file.
    like: a shape and a dtype of each array, by name.
    read: the array of a name.
  """
  header, end = {"__metadata__": {"format": "pt"}}, 0  # as transformers asks
  for name, x in like.items():
    start, end = end, end + num_bytes(x)
    header[name] = {
      "dtype": _NAMES[np.dtype(x.dtype)],
      "shape": list(x.shape),
      "data_offsets": [start, end],
    }
  text = json.dumps(header).encode()
  text += b" " * (-len(text) % 8)
  with pathlib.Path(path).open("xb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for name, x in like.items():
      file.write(np.ascontiguousarray(read(name), x.dtype).tobytes())
    file.flush()
    os.fsync(file.fileno())


def num_bytes(x: Any) -> int:
  """Of an array, or of what has its shape and dtype."""
  return math.prod(x.shape) * np.dtype(x.dtype).itemsize


def _header(path, size):
  """The header, and where it ends."""
  with path.open("rb") as file:
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or 8 + length > size:
      raise ValueError(
        f"{path} is cut short, or no safetensors file: its {size} bytes do not "
        "hold a header"
      )
    text = file.read(length)
  try:
    header = json.loads(text)
  except ValueError as error:  # UnicodeDecodeError is one
    raise ValueError(f"{path} is no safetensors file: {error}") from error
  if not isinstance(header, dict):
    raise ValueError(f"{path} is no safetensors file: {header!r}")
  return header, 8 + length


def _place(dtype, shape, data_offsets):
  """Dtype, shape, first byte and end of an array, from its entry."""
  if dtype not in DTYPES:
    raise ValueError(f"dtype={dtype!r} is not one of {sorted(DTYPES)}")
  start, end = data_offsets
  if (
    start < 0
    or end - start != math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
  ):
    raise ValueError(f"{shape=} of {dtype=} does not fill {data_offsets=}")
  return DTYPES[dtype], tuple(shape), start, end
