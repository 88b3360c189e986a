"""Files are whole or absent; a bad workdir is named before the run begins."""

import dataclasses
import errno
import json
import os
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest
import chex
import jax.numpy as jnp
import numpy as np

from trainers import files
from trainers.reports import Claim


@dataclasses.dataclass(frozen=True)
class _Config:
  width: int = 4
  activation: object = max


class FilesTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.root = pathlib.Path(self.create_tempdir().full_path)

  def test_text_and_bytes_come_back_as_they_were(self):
    for content in ("zwölf\r\n…", b"\x00\xff\n"):
      files.write_atomic(self.root / "file", content)
      data = content.encode() if isinstance(content, str) else content
      self.assertEqual((self.root / "file").read_bytes(), data)

  def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(self):
    files.write_atomic(self.root / "file", "old")
    with (
      mock.patch.object(os, "replace", side_effect=OSError("power cut")),
      self.assertRaisesRegex(OSError, "power cut"),
    ):
      files.write_atomic(self.root / "file", "new")
    self.assertEqual(os.listdir(self.root), ["file"])
    self.assertEqual((self.root / "file").read_text(), "old")

  def test_a_written_file_has_the_permissions_of_any_new_file(self):
    files.write_atomic(self.root / "ours", "x")
    (self.root / "plain").write_text("x")
    modes = [(self.root / n).stat().st_mode for n in ("ours", "plain")]
    self.assertEqual(*modes)

  def test_json_is_strict_and_comes_back(self):
    value = {
      "claim": Claim("text", ours=float("nan"), interval=(1.0, np.inf)),
      "config": _Config(),
      "scalars": (np.float32(0.5), np.bool_(True), np.int64(3), None),
      "array": jnp.array([1.0, jnp.nan]),
      "dtype": np.float32,
      "path": pathlib.PurePosixPath("a/b"),
    }
    files.write_json(self.root / "a.json", value)
    text = (self.root / "a.json").read_text()
    self.assertNotRegex(text, "NaN|Infinity")
    found = files.read_json(self.root / "a.json")
    self.assertEqual(found, json.loads(text))
    self.assertIsNone(found["claim"]["ours"])
    self.assertEqual(found["claim"]["interval"], [1.0, None])
    self.assertEqual(found["config"], {"width": 4, "activation": "max"})
    self.assertEqual(found["scalars"], [0.5, True, 3, None])
    self.assertEqual(found["array"], [1.0, None])
    self.assertEqual(found["dtype"], "float32")
    self.assertEqual(found["path"], "a/b")

  def test_a_broken_json_file_is_named(self):
    (self.root / "a.json").write_text("{")
    with self.assertRaisesRegex(ValueError, r"a\.json is not JSON: .* line 1"):
      files.read_json(self.root / "a.json")

  def test_a_missing_json_file_is_not_found(self):
    with self.assertRaisesRegex(FileNotFoundError, "a.json"):
      files.read_json(self.root / "a.json")

  def test_workdir_is_created_with_its_parents_and_stays_empty(self):
    path = files.prepare_workdir(self.root / "a" / "b")
    self.assertEqual(files.prepare_workdir(str(path)), path)
    self.assertEqual(os.listdir(path), [])

  def test_workdir_is_absolute(self):
    here = os.getcwd()
    self.addCleanup(os.chdir, here)
    os.chdir(self.root)
    self.assertTrue(files.prepare_workdir("runs/a").is_absolute())

  def test_workdir_knows_the_home_folder(self):
    with mock.patch.dict(os.environ, {"HOME": str(self.root)}):
      self.assertEqual(files.prepare_workdir("~/a"), self.root / "a")

  def test_a_file_is_no_workdir(self):
    (self.root / "taken").write_text("x")
    with self.assertRaisesRegex(ValueError, "taken'.*a file has this name"):
      files.prepare_workdir(self.root / "taken")

  def test_a_folder_below_a_file_is_no_workdir(self):
    (self.root / "taken").write_text("x")
    with self.assertRaisesRegex(ValueError, "part of this path is a file"):
      files.prepare_workdir(self.root / "taken" / "below")

  def test_an_unwritable_workdir_says_what_to_do(self):
    # Simulated: the superuser, who runs many containers, may write anywhere.
    for code, remedy in (
      (errno.EACCES, "no permission; change its owner"),
      (errno.EROFS, "read-only; choose a folder on another disk"),
      (errno.ENOSPC, "disk is full; free some space"),
      (errno.EIO, "choose another folder"),
    ):
      error = OSError(code, os.strerror(code))
      with (
        mock.patch.object(tempfile, "TemporaryFile", side_effect=error),
        self.assertRaisesRegex(ValueError, remedy),
      ):
        files.prepare_workdir(self.root / "a")

  def test_a_url_is_no_workdir(self):
    with self.assertRaisesRegex(ValueError, "gs://b/c' is a URL"):
      files.prepare_workdir("gs://b/c")


if __name__ == "__main__":
  absltest.main()
