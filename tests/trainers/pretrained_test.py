"""Tests for trainers/pretrained.py."""

import json
import pathlib

from absl.testing import absltest
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import numpy as np

from trainers import pretrained

SETTINGS = {"model_type": "toy"}
INDEX = "model.safetensors.index.json"


def some_tensors():
  return {
    f"x.{i}": np.arange(8, dtype=np.float32).reshape(4, 2) + i for i in range(5)
  }


class PretrainedTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path) / "a" / "model"

  def write(self, some=None, read=None, **options):
    some = some or some_tensors()
    read = read or some.__getitem__
    pretrained.write(self.folder, SETTINGS, some, read, **options)

  def names(self):
    return sorted(path.name for path in self.folder.iterdir())

  def assert_written(self):
    self.assertEqual(pretrained.read_settings(self.folder), SETTINGS)
    found = pretrained.open_tensors(self.folder)
    self.assertCountEqual(found, some_tensors())
    for name, x in some_tensors().items():
      np.testing.assert_array_equal(found[name], x)

  def test_a_folder_comes_back(self):
    self.write()
    self.assertEqual(self.names(), ["config.json", "model.safetensors"])
    self.assert_written()

  def test_large_tensors_go_into_several_files(self):
    self.write(max_file_bytes=64)  # two of 32 bytes
    self.assertEqual(
      self.names(),
      ["config.json"]
      + [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
      + [INDEX],
    )
    self.assert_written()
    index = pretrained.read_settings(self.folder, INDEX)
    self.assertEqual(index["metadata"], {"total_size": 160})

  def test_a_failure_leaves_nothing(self):
    def read(name):
      raise FloatingPointError(name)

    with self.assertRaisesRegex(FloatingPointError, "x.0"):
      self.write(read=read)
    self.assertEqual(list(self.folder.parent.iterdir()), [])

  def test_a_folder_that_holds_something_is_kept(self):
    self.write()
    with self.assertRaisesRegex(ValueError, f"{self.folder} is there already"):
      self.write()
    self.assert_written()

  def test_each_device_reads_its_own_part(self):
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,))
    rows = NamedSharding(mesh, P("data"))
    x, asked = some_tensors()["x.1"], []

    def read(index):
      asked.append(index[0].indices(4)[:2])
      return x[index]

    placed = pretrained.place(x, read, "bfloat16", rows)
    self.assertEqual(placed.sharding, rows)
    self.assertEqual(placed.dtype, "bfloat16")
    np.testing.assert_array_equal(placed, x)
    self.assertCountEqual(asked, [(i, i + 1) for i in range(4)])

  def test_what_is_placed_does_not_follow_the_file(self):
    x = some_tensors()["x.0"]
    placed = pretrained.place(x, x.__getitem__, x.dtype)
    x[:] = -1
    np.testing.assert_array_equal(placed, some_tensors()["x.0"])

  def test_what_is_missing_is_named(self):
    read = lambda: pretrained.open_tensors(self.folder)
    with self.assertRaisesRegex(
      ValueError, f"no model in {self.folder}: .*config.json does not exist"
    ):
      pretrained.read_settings(self.folder)
    self.folder.mkdir(parents=True)
    with self.assertRaisesRegex(
      ValueError, "neither model.safetensors nor model.safetensors.index.json"
    ):
      read()
    self.folder.rmdir()
    self.write(max_file_bytes=64)
    path = self.folder / INDEX
    index = json.loads(path.read_text())
    index["weight_map"]["y"] = "model-00001-of-00003.safetensors"
    path.write_text(json.dumps(index))
    with self.assertRaisesRegex(ValueError, r"tensors that no file has: \['y'"):
      read()
    (self.folder / "model-00002-of-00003.safetensors").unlink()
    with self.assertRaisesRegex(
      ValueError, r"none of the files \['model-00002-of-00003.safetensors'\]"
    ):
      read()
    path.write_text("{}")
    with self.assertRaisesRegex(ValueError, "index.json has no weight_map"):
      read()

  def test_settings_are_an_object(self):
    self.write()
    (self.folder / "config.json").write_text("[1]")
    with self.assertRaisesRegex(ValueError, r"holds no object, but \[1\]"):
      pretrained.read_settings(self.folder)


if __name__ == "__main__":
  absltest.main()
