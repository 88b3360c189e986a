"""Tests for launch/texts.py."""

import pathlib

from absl import app
from absl.testing import absltest

from launch import texts
from simplex.data import formal


class TextsTest(absltest.TestCase):
  def path(self, name, size):
    folder = pathlib.Path(self.create_tempdir().full_path)
    (folder / name).write_bytes(bytes(range(256)) * (size // 256 + 1))
    return str(folder / name)

  def test_a_path_is_a_kind_of_its_own_beside_the_bundled(self):
    path = self.path("genome.fa", 5000)
    found = texts.load(texts.Config((path,), max_bytes=4000), shortest=65)
    self.assertEqual(list(found), [*texts.BUNDLED, "genome.fa"])
    self.assertEqual([len(x) for x in found["genome.fa"]], [3200, 400, 400])

  def test_two_of_one_name_are_refused(self):
    paths = (self.path("a.txt", 5000), self.path("a.txt", 5000))
    with self.assertRaisesRegex(app.UsageError, "named 'a.txt'; rename one"):
      texts.load(texts.Config(paths, 4000), shortest=65)

  def test_a_text_shorter_than_a_context_is_refused(self):
    config = texts.Config((self.path("short", 100),), 4000)
    with self.assertRaisesRegex(
      app.UsageError, "'short' has 256 bytes, too few: .* must hold 65"
    ):
      texts.load(config, shortest=65)

  def test_a_missing_path_is_refused(self):
    with self.assertRaisesRegex(app.UsageError, "'no/such' does not exist"):
      texts.load(texts.Config(("no/such",), 4000), shortest=65)

  def test_every_set_has_test_windows_and_others(self):
    parts = texts.load(texts.Config(max_bytes=4000), shortest=65)
    test, tuning = texts.windows(parts, 6, 65)
    self.assertEqual(list(test), [*texts.BUNDLED, *formal.SETS])
    self.assertEqual(list(tuning), list(test))
    for name, windows in test.items():
      self.assertEqual(windows.shape, (6, 65))
      self.assertFalse((windows == tuning[name]).all(), name)


if __name__ == "__main__":
  absltest.main()
