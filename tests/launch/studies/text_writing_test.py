"""Tests for launch/studies/text_writing.py."""

import importlib.util
import pathlib
import tempfile
import unittest

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import text_folders, text_writing
from launch.studies.text_writing import Guard, Penalty, Written
from tests.launch import toy_folders
from tests.trainers.toy_tokenizer import BEGIN, END

PROMPTS = ["one", "another one", "1", "22", "333"]
KEY = jax.random.key(0)


class TextWritingTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    if importlib.util.find_spec("tokenizers") is None:
      raise unittest.SkipTest("tokenizers is not installed")
    root = cls.enterClassContext(tempfile.TemporaryDirectory())
    config = toy_folders.write(pathlib.Path(root), 2)
    loaded = text_folders.load(config, toy_folders.sizes(1, 1, 1))
    cls.teacher, cls.proxy = loaded.teacher, loaded.proxy

  def write(self, prompts=PROMPTS, **options):
    return text_writing.write(
      self.teacher, prompts, KEY, num_tokens=8, batch_size=2, **options
    )

  def guarded(self, weight, epsilon=0.0, **options):
    direction = jax.tree.map(jnp.sign, self.proxy.params)
    return self.write(
      tau=1.0,
      penalty=Penalty(self.proxy.config, epsilon, shuffled=False),
      guard=Guard(self.proxy.params, direction, jnp.float32(weight)),
      **options,
    ).texts

  def test_a_text_depends_on_its_own_prompt_alone(self):
    texts, ended = self.write()
    self.assertLen(texts, 5)
    self.assertLen(ended, 5)
    for prompt, text in zip(PROMPTS[2:], texts[2:], strict=True):
      self.assertEqual(self.write([prompt, prompt]).texts, [text, text])

  def test_a_weight_of_0_changes_nothing_and_others_do(self):
    plain = self.write(tau=1.0).texts
    self.assertEqual(self.guarded(0.0), plain)
    exact = self.guarded(0.3)
    self.assertNotEqual(exact, plain)
    # The finite difference draws nearly the same.
    near = self.guarded(0.3, epsilon=1e-3)
    self.assertGreaterEqual(sum(map(str.__eq__, exact, near)), 4)

  def test_completions_alone_are_learned_and_their_end(self):
    written = Written(["xy", "xyz", "x" * 9], np.array([True, False, False]))
    batch = text_writing.examples(self.teacher, ["ab", "a", "a"], written, 4)
    a, b, x, y, z = (self.teacher.tokenizer.encode(c)[1] for c in "abxyz")
    self.assertEqual(
      batch["tokens"].tolist(),
      [
        [BEGIN, a, b, x, y, END, 0],
        [BEGIN, a, x, y, z, 0, 0],
        [BEGIN, a, x, x, x, x, x],
      ],
    )
    self.assertEqual(batch["targets"][0].tolist(), [a, b, x, y, END, 0, 0])
    self.assertEqual(
      batch["mask"].tolist(),
      [
        [0, 0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0, 0, 0],
        [0, 1, 1, 1, 1, 1, 1],
      ],
    )


if __name__ == "__main__":
  absltest.main()
