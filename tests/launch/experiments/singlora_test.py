"""Tests for launch/experiments/singlora.py."""

import dataclasses
import pathlib

from absl import app
from absl.testing import absltest
import jax
import numpy as np

from launch.experiments import singlora
from launch.studies import tuned_models
from tests.launch import toy_models
from tests.trainers import toy_tokenizer


class SingloraTest(absltest.TestCase):
  def test_counts_are_those_of_the_models(self):
    found = {n: singlora.counts(fn()) for n, fn in singlora.SHAPES.items()}
    self.assertEqual(found["LLaMA-7B"], (19_988_480, 12_648_448))
    self.assertEqual(found["GPT-2"], (1_179_648, 884_736))

  def test_an_unknown_arm_or_none_is_refused(self):
    for arms, message in (
      (("lora", "lor"), r"not \['lor'\]"),
      ((), r"arms=\(\) must name some of \['lora'"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        singlora.Config(arms=arms)

  def test_an_unknown_text_is_refused(self):
    config = dataclasses.replace(singlora.tiny(), first="poetry")
    with self.assertRaisesRegex(app.UsageError, "'poetry' is not one of"):
      singlora.problem(config)


class FolderTest(absltest.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.config = dataclasses.replace(
      singlora.tiny(), model_folder=str(self.folder / "llama")
    )

  def test_a_model_of_hugging_face_is_tuned_in_its_own_tokens(self):
    folder = self.folder / "llama"
    toy_models.save(folder, "LlamaForCausalLM")
    toy_tokenizer.write(folder)
    model = singlora.pretrained(self.config, "")
    data = singlora._data(self.config)
    # Every part of the text begins with a token that is no byte.
    self.assertEqual(data.test[0, 0], toy_tokenizer.BEGIN)
    one = tuned_models.make(self.config.tune, "singlora", model.params)
    fitted = tuned_models.problem(self.config.tune, *model, one, data.source)
    tree = fitted.init(jax.random.key(0))
    self.assertLen(tree, 7)
    self.assertEqual({a.shape[0] for a in tree.values()}, {2})  # layers
    batch, _ = data.source.next(data.source.init(jax.random.key(1)))
    loss, _ = fitted.loss(tree, batch, key=None, step=0)
    self.assertTrue(np.isfinite(loss))

  def test_a_folder_that_is_not_there_is_refused(self):
    with self.assertRaisesRegex(app.UsageError, "no model in .*llama"):
      singlora.run(self.config, "")


if __name__ == "__main__":
  absltest.main()
