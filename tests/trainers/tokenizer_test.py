"""Tests for trainers/tokenizer.py."""

import importlib.util
import pathlib
import sys
from unittest import mock

from absl.testing import absltest, parameterized

from tests.trainers import toy_tokenizer
from trainers import tokenizer


class TokenizerTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)

  def test_a_text_comes_back_without_what_begins_it(self):
    if importlib.util.find_spec("tokenizers") is None:
      self.skipTest("tokenizers is not installed")
    toy_tokenizer.write(self.folder)
    words = tokenizer.load(self.folder)
    tokens = words.encode("hé")
    self.assertEqual(tokens[0], toy_tokenizer.BEGIN)
    self.assertLen(tokens, 4)
    self.assertEqual(words.decode([*tokens, toy_tokenizer.END]), "hé")
    self.assertEqual(words.decode(tokens[:3]), "h\N{REPLACEMENT CHARACTER}")
    self.assertEqual(words.vocab_size, 258)

  def test_a_missing_file_is_named(self):
    with self.assertRaisesRegex(
      ValueError, f"no tokenizer in {self.folder}: .*tokenizer.json does not"
    ):
      tokenizer.load(self.folder)

  @parameterized.parameters(
    ("{", "tokenizer.json is not JSON"), ("{}", "it has no 'model'")
  )
  def test_another_file_is_refused(self, content, message):
    (self.folder / "tokenizer.json").write_text(content)
    with self.assertRaisesRegex(ValueError, message):
      tokenizer.load(self.folder)

  def test_a_missing_package_says_how_to_get_it(self):
    (self.folder / "tokenizer.json").write_text('{"model": {}}')
    with (
      mock.patch.dict(sys.modules, {"tokenizers": None}),
      self.assertRaisesRegex(ModuleNotFoundError, r"pip install 'simplex\[hf]"),
    ):
      tokenizer.load(self.folder)


if __name__ == "__main__":
  absltest.main()
