"""Tests for launch/studies/text_folders.py."""

import dataclasses
import importlib.util
import json
import pathlib

from absl.testing import absltest
import chex

from launch.studies import text_folders
from tests.launch import toy_folders
from trainers.questions import Question


def load(config):
  return text_folders.load(config, toy_folders.sizes(1, 1, 2))


class TextFoldersTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    if importlib.util.find_spec("tokenizers") is None:
      self.skipTest("tokenizers is not installed")
    self.root = pathlib.Path(self.create_tempdir().full_path)
    self.config = toy_folders.write(self.root, 2)

  def test_all_is_read(self):
    loaded = load(self.config)
    self.assertEqual(loaded.teacher.stop_tokens, (257,))
    self.assertEqual(loaded.proxy.config.implementation, "reference")
    self.assertEqual(
      loaded.test, [Question("0 + 1?", "1"), Question("1 + 1?", "2")]
    )
    self.assertEqual(loaded.asked, loaded.test[:1])
    self.assertEqual(loaded.held_out, loaded.test[1:])
    central = dataclasses.replace(self.config, epsilon=0.01)
    proxy = load(central).proxy
    self.assertIsNone(proxy.config.implementation)

  def test_some_paths_need_all_others(self):
    self.assertFalse(text_folders.Config().given)
    with self.assertRaisesRegex(
      ValueError, "folders has no proxy, student, questions: it takes all of"
    ):
      text_folders.Config(teacher="a", test="b")

  def test_a_template_has_a_place_for_the_question(self):
    with self.assertRaisesRegex(ValueError, "template='Q:' has no {question}"):
      text_folders.Config(template="Q:")
    braces = text_folders.Config(template=r"\boxed{}: {question}")
    question = Question("{x}?", "3")
    self.assertEqual(braces.prompt(question), r"\boxed{}: {x}?")

  def test_what_is_not_there_is_listed_with_its_remedy(self):
    config = dataclasses.replace(self.config, proxy="no/proxy", test="no/test")
    with self.assertRaises(ValueError) as caught:
      load(config)
    for part in (
      "folders.proxy=no/proxy: a folder with config.json",
      "folders.test=no/test: lines of",
      "hf download",
      "--set=folders.teacher=",
    ):
      self.assertIn(part, str(caught.exception))
    self.assertNotIn(self.config.teacher, str(caught.exception))

  def test_a_proxy_of_another_vocabulary_is_refused(self):
    path = self.root / "proxy" / "tokenizer.json"
    settings = json.loads(path.read_text())
    vocab = settings["model"]["vocab"]
    vocab["a"], vocab["b"] = vocab["b"], vocab["a"]
    path.write_text(json.dumps(settings))
    with self.assertRaisesRegex(
      ValueError, r"proxy/tokenizer.json has another vocabulary \(258 tokens"
    ):
      load(self.config)


if __name__ == "__main__":
  absltest.main()
