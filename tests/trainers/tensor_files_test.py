"""Tests for trainers/tensor_files.py."""

import importlib.util
import json
import pathlib
import struct

from absl.testing import absltest, parameterized
import ml_dtypes
import numpy as np

from trainers import tensor_files


def some_tensors():
  draw = np.random.default_rng(0).normal
  return {
    "a.weight": draw(size=(3, 5)).astype(np.float32),
    "b": draw(size=7).astype(ml_dtypes.bfloat16),
    "empty": np.zeros((0, 4), np.float16),
    "scalar": np.array(3, np.int64),
  }


def header_of(**entries) -> bytes:
  text = json.dumps(entries).encode()
  return struct.pack("<Q", len(text)) + text


class TensorFilesTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    folder = pathlib.Path(self.create_tempdir().full_path)
    self.path = folder / "x.safetensors"

  def write(self):
    some = some_tensors()
    tensor_files.write_tensors(self.path, some, some.__getitem__)
    return some

  def assert_same(self, found, expected):
    self.assertCountEqual(found, expected)
    for name, x in expected.items():
      self.assertEqual(found[name].dtype, x.dtype)
      np.testing.assert_array_equal(found[name], x)

  def test_what_is_written_is_read(self):
    some = self.write()
    self.assert_same(tensor_files.open_tensors(self.path), some)

  def test_the_format_is_that_of_safetensors(self):
    if importlib.util.find_spec("safetensors") is None:
      self.skipTest("safetensors is not installed")
    import safetensors.numpy

    some = self.write()
    self.assert_same(safetensors.numpy.load_file(self.path), some)
    other = self.path.with_name("other.safetensors")
    safetensors.numpy.save_file(some, other, {"key": "value"})
    self.assert_same(tensor_files.open_tensors(other), some)

  def test_a_file_cut_short_anywhere_is_named(self):
    self.write()
    whole = self.path.read_bytes()
    for size in (0, 7, 8, 100, len(whole) - 1):
      self.path.write_bytes(whole[:size])
      with self.assertRaisesRegex(
        ValueError, f"{self.path} is cut short.* {size} bytes"
      ):
        tensor_files.open_tensors(self.path)

  @parameterized.parameters(
    (struct.pack("<Q", 3) + b"{]}", "no safetensors file: Expecting"),
    (struct.pack("<Q", 2) + b"[]", r"no safetensors file: \[\]"),
    (header_of(a=3), "a damaged header"),
    (header_of(a=dict(dtype="F32", shape=[2])), "a damaged header: .*miss"),
    (
      header_of(a=dict(dtype="F4", shape=[2], data_offsets=[0, 1])) + b"0",
      "dtype='F4' is not one of .*'BF16'",
    ),
    (
      header_of(a=dict(dtype="F32", shape=[2], data_offsets=[0, 4])) + b"0000",
      r"shape=\[2\] of dtype='F32' does not fill data_offsets=\[0, 4\]",
    ),
    (
      header_of(a=dict(dtype="I8", shape=[1], data_offsets=[0, 1])) + b"00",
      "more than its header tells: 70 bytes, not 69",
    ),
  )
  def test_a_damaged_file_is_named(self, content, message):
    self.path.write_bytes(content)
    with self.assertRaisesRegex(ValueError, f"{self.path} .*{message}"):
      tensor_files.open_tensors(self.path)

  def test_a_file_that_exists_is_not_written_over(self):
    self.write()
    with self.assertRaises(FileExistsError):
      self.write()


if __name__ == "__main__":
  absltest.main()
