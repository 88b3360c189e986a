"""Labelled images: digits that ship with scikit-learn, or a local folder."""

import gzip
import pathlib
from typing import NamedTuple

import numpy as np
from sklearn import datasets

from trainers import files

_HOW = (
  "a folder with the four MNIST files (train-images-idx3-ubyte, "
  "train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, "
  "each as it is or with .gz; Fashion-MNIST has the same names), or with the "
  "CIFAR-10 binaries (data_batch_1.bin to data_batch_5.bin, test_batch.bin)"
)


class Images(NamedTuple):
  """Images in [0, 1], float32, and the index of their class, int32."""

  train_NHWC: np.ndarray
  train_labels_N: np.ndarray
  test_NHWC: np.ndarray
  test_labels_N: np.ndarray


def load(source: str) -> Images:
  """Reads a set of labelled images.

  Args:
    source: "digits", 1,797 handwritten digits of 8 x 8 pixels of which a fifth
      are for testing (always the same); or a folder with MNIST or CIFAR-10.

  Raises:
    InputError: nothing known is there, or a file is damaged; the message says
      what was looked for.
  """
  if source == "digits":
    return _digits()
  folder = pathlib.Path(source)
  if (folder / "test_batch.bin").exists():
    return _cifar(folder)
  if folder.is_dir() and _file(folder, "train-images-idx3-ubyte"):
    return _mnist(folder)
  raise files.InputError(f"{source!r} is not 'digits' and not {_HOW}")


def _digits() -> Images:
  digits = datasets.load_digits()
  images_NHWC = (digits.images[..., None] / 16).astype(np.float32)
  labels_N = digits.target.astype(np.int32)
  order = np.random.default_rng(0).permutation(len(labels_N))
  test, train = np.split(order, [len(order) // 5])
  return Images(
    images_NHWC[train], labels_N[train], images_NHWC[test], labels_N[test]
  )


def _mnist(folder: pathlib.Path) -> Images:
  parts = []
  for part in ("train", "t10k"):
    images_NHW = _idx(folder, f"{part}-images-idx3-ubyte", 3)
    labels_N = _idx(folder, f"{part}-labels-idx1-ubyte", 1)
    if len(images_NHW) != len(labels_N):
      raise files.InputError(
        f"{folder} has {len(images_NHW)} images and {len(labels_N)} labels "
        f"of {part!r}"
      )
    parts += [_unit(images_NHW[..., None]), labels_N.astype(np.int32)]
  return Images(*parts)


def _cifar(folder: pathlib.Path) -> Images:
  names = [f"data_batch_{i}.bin" for i in range(1, 6)]
  train = [_cifar_batch(folder / name) for name in names]
  images_NHWC, labels_N = map(np.concatenate, zip(*train, strict=True))
  return Images(images_NHWC, labels_N, *_cifar_batch(folder / "test_batch.bin"))


def _cifar_batch(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
  if not path.exists():
    raise files.InputError(f"{path} is missing; looked for {_HOW}")
  data = np.frombuffer(path.read_bytes(), np.uint8)
  row = 1 + 3 * 32 * 32
  if not len(data) or len(data) % row:
    raise files.InputError(
      f"{path} has {len(data)} bytes, not a multiple of {row}"
    )
  data = data.reshape(-1, row)
  images_NHWC = data[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
  return _unit(images_NHWC), data[:, 0].astype(np.int32)


def _unit(images: np.ndarray) -> np.ndarray:
  return images.astype(np.float32) / 255


def _file(folder: pathlib.Path, name: str) -> pathlib.Path | None:
  paths = (folder / name, folder / f"{name}.gz")
  return next((path for path in paths if path.exists()), None)


def _idx(folder: pathlib.Path, name: str, rank: int) -> np.ndarray:
  """Reads an array of bytes in the IDX format of MNIST."""
  path = _file(folder, name)
  if path is None:
    raise files.InputError(f"{folder / name} is missing; looked for {_HOW}")
  data = path.read_bytes()
  try:
    data = gzip.decompress(data) if path.suffix == ".gz" else data
  except (EOFError, gzip.BadGzipFile) as error:
    raise files.InputError(
      f"{path} is not a whole gzip file: {error}"
    ) from error
  header = 4 + 4 * rank
  if data[:4] != bytes((0, 0, 8, rank)) or len(data) < header:
    raise files.InputError(f"{path} is not an IDX file of {rank} axes of bytes")
  shape = tuple(np.frombuffer(data[4:header], ">u4").tolist())
  if len(data) != header + np.prod(shape):
    raise files.InputError(f"{path} has {len(data) - header} bytes for {shape}")
  return np.frombuffer(data[header:], np.uint8).reshape(shape)
