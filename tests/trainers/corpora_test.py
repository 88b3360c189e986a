"""Tests for trainers/corpora.py."""

import os
import pathlib
import sys
from unittest import mock

from absl.testing import absltest
import chex

from trainers import corpora


class BundledTest(chex.TestCase):
  def test_prose_is_english_and_holds_no_paragraph_twice(self):
    text = corpora.bundled("prose").decode()
    self.assertIn(" the ", text)
    paragraphs = text.split("\n\n")
    self.assertGreater(len(paragraphs), 1000)
    self.assertLen(set(paragraphs), len(paragraphs))

  def test_code_starts_with_the_first_module(self):
    first = pathlib.Path(os.__file__).with_name("__future__.py").read_bytes()
    self.assertEqual(corpora.bundled("code", len(first)), first)

  def test_code_fills_its_limit(self):
    self.assertLen(corpora.bundled("code"), corpora.BUNDLED_BYTES)

  def test_bytecode_is_the_same_each_time_and_no_text(self):
    data = corpora.bundled("bytecode", 50_000)
    self.assertLen(data, 50_000)
    self.assertEqual(data, corpora.bundled("bytecode", 50_000))
    self.assertGreater(data.count(0), len(data) / 4)

  def test_unknown_name_is_an_error_that_lists_the_known(self):
    with self.assertRaisesRegex(ValueError, "name='poems'.*'prose'.*'code'"):
      corpora.bundled("poems")

  def test_python_without_the_files_is_an_error_that_says_where(self):
    folder = self.create_tempdir().full_path
    hidden = {"pydoc_data.topics": None}
    with (
      mock.patch.dict(sys.modules, hidden),
      mock.patch("sysconfig.get_path", return_value=folder),
    ):
      for name in ("prose", "code", "bytecode"):
        with self.assertRaisesRegex(ValueError, f"{name}.*{folder}.*Install"):
          corpora.bundled(name)

  def test_limit_below_1_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "max_bytes=0"):
      corpora.bundled("prose", 0)


class ReadTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def write(self, name, data):
    path = self.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path

  def test_file_is_read_up_to_the_limit(self):
    path = self.write("a", bytes(range(256)) * 10_000)
    self.assertEqual(corpora.read(path), path.read_bytes())
    self.assertEqual(corpora.read(str(path), 300), path.read_bytes()[:300])

  def test_folder_is_read_in_order_of_paths_without_what_is_hidden(self):
    self.write("b", b"2")
    self.write("a/z", b"1")
    self.write("c", b"3")
    self.write(".git/a", b"hidden")
    self.write(".hidden", b"hidden")
    self.assertEqual(corpora.read(self.folder), b"123")
    self.assertEqual(corpora.read(self.folder, 2), b"12")

  def test_pipes_and_broken_links_are_passed_over(self):
    os.mkfifo(self.folder / "a")
    os.symlink(self.folder / "nowhere", self.folder / "b")
    self.write("c", b"text")
    self.assertEqual(corpora.read(self.folder), b"text")

  def test_file_that_cannot_be_opened_is_passed_over(self):
    self.write("a", b"secret")
    self.write("b", b"text")
    opened = pathlib.Path.open

    def refuse(path, mode):
      if path.name == "a":
        raise PermissionError(path)
      return opened(path, mode)

    with mock.patch.object(pathlib.Path, "open", refuse):
      self.assertEqual(corpora.read(self.folder), b"text")
      with self.assertRaisesRegex(ValueError, "unreadable"):
        corpora.read(self.folder / "a")

  def test_missing_path_is_an_error_that_says_what_was_looked_for(self):
    with self.assertRaisesRegex(
      ValueError, f"'nowhere' does not exist .looked for {pathlib.Path.cwd()}"
    ):
      corpora.read("nowhere")

  def test_empty_file_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "is empty"):
      corpora.read(self.write("a", b""))

  def test_folder_with_nothing_to_read_is_an_error(self):
    os.mkfifo(self.folder / "a")
    self.write("b", b"")
    self.write(".c", b"hidden")
    with self.assertRaisesRegex(ValueError, "is a folder without a file"):
      corpora.read(self.folder)

  def test_limit_below_1_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "max_bytes=0"):
      corpora.read(self.write("a", b"text"), 0)


if __name__ == "__main__":
  absltest.main()
