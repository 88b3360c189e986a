"""Tests for launch/hugging_face.py that need no torch."""

import dataclasses
import json
import pathlib

from absl.testing import absltest, parameterized
import chex
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import numpy as np

from launch import hugging_face
from simplex.adapters import adapter, lora, paths, targets
from simplex.models import transformer
from tests.launch import toy_models
from trainers import pretrained, tensor_files

LLAMA = "LlamaForCausalLM"


class HuggingFaceTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path) / "model"

  @parameterized.parameters(*toy_models.CONFIGS)
  def test_loading_is_the_inverse_of_saving(self, architecture):
    config = toy_models.CONFIGS[architecture]
    toy_models.save(self.folder, architecture, max_file_bytes=4_000)
    self.assertTrue((self.folder / "model.safetensors.index.json").exists())
    found, params = hugging_face.load(self.folder)
    free = dataclasses.replace(
      hugging_face._explicit(found), dtype=config.dtype
    )
    self.assertEqual(free, hugging_face._explicit(config))
    chex.assert_trees_all_equal(params, toy_models.params(config))

  @parameterized.parameters(*toy_models.CONFIGS)
  def test_stacked_layers_hold_the_same(self, architecture):
    toy_models.save(self.folder, architecture)
    config, params = hugging_face.load(self.folder)
    scanned, stacked = hugging_face.load(self.folder, scan_layers=True)
    chex.assert_trees_all_equal(
      stacked, transformer.stack_layers(params, config)
    )
    again = self.folder.with_name("again")
    hugging_face.save(again, architecture, scanned, stacked)
    chex.assert_trees_all_equal(hugging_face.load(again)[1], params)

  @parameterized.parameters("bfloat16", "float16", "float32")
  def test_parameters_have_the_dtype_of_the_file_or_that_asked_for(self, dtype):
    toy_models.save(self.folder, LLAMA)
    _, exact = hugging_face.load(self.folder)
    config, params = hugging_face.load(self.folder, dtype=dtype)
    expected = jax.tree.map(lambda x: x.astype(dtype), exact)
    chex.assert_trees_all_equal(params, expected)
    low = self.folder.with_name("low")
    hugging_face.save(low, LLAMA, config, params)
    chex.assert_trees_all_equal(hugging_face.load(low)[1], expected)

  def test_parameters_go_where_they_are_told(self):
    mesh = jax.make_mesh((2,), ("model",), (AxisType.Auto,))
    whole, split = (NamedSharding(mesh, p) for p in (P(), P(None, "model")))
    sharding = lambda path: split if path.endswith("/kernel") else whole
    toy_models.save(self.folder, LLAMA)
    _, params = hugging_face.load(self.folder, sharding=sharding)
    for path, x in paths.flatten(params).items():
      self.assertEqual(x.sharding, sharding(path))
    chex.assert_trees_all_equal(params, hugging_face.load(self.folder)[1])

  def test_a_bare_model_of_old_files_is_read(self):
    """As the first GPT-2 has it: no prefix, and masks among the tensors."""
    toy_models.save(self.folder, "GPT2LMHeadModel")
    found = dict(pretrained.open_tensors(self.folder))
    old = {x.removeprefix("transformer."): np.array(found[x]) for x in found}
    old["h.0.attn.bias"] = np.ones((1, 1, 20, 20), np.uint8)
    (self.folder / pretrained.TENSORS).unlink()
    tensor_files.write_tensors(
      self.folder / pretrained.TENSORS, old, old.__getitem__
    )
    _, params = hugging_face.load(self.folder)
    config = toy_models.CONFIGS["GPT2LMHeadModel"]
    chex.assert_trees_all_equal(params, toy_models.params(config))

  def test_changes_come_back_from_files_of_peft(self):
    config = toy_models.CONFIGS[LLAMA]
    base = toy_models.params(config)
    one = lora.lora(targets.Config((r".*/(query|down)/kernel",), rank=2))
    tree = jax.tree.map(lambda x: x + 1.0, one.init(jax.random.key(0), base))
    factors = one.factors(base, tree, 0)
    modules = hugging_face.adapter_modules(LLAMA, config)
    hugging_face.save_adapter(self.folder, factors, modules)
    names = tensor_files.open_tensors(self.folder / hugging_face.ADAPTER)
    self.assertIn(
      "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", names
    )
    again = hugging_face.load_adapter(self.folder, modules)
    self.assertCountEqual(again, factors)
    for path, f in factors.items():
      kernel = paths.flatten(base)[path]
      np.testing.assert_array_equal(
        adapter.change(kernel, again[path]), adapter.change(kernel, f)
      )


class RefusedTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    self.folder = pathlib.Path(self.create_tempdir().full_path) / "model"

  def set(self, **settings):
    path = self.folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))

  def test_all_that_does_not_fit_is_listed(self):
    toy_models.save(self.folder, LLAMA)
    self.set(num_hidden_layers=1, intermediate_size=13, attention_bias=True)
    with self.assertRaises(ValueError) as caught:
      hugging_face.load(self.folder)
    message = str(caught.exception)
    for part in (
      f"{self.folder}: the tensors do not fit",
      "'model.layers.0.self_attn.q_proj.bias' is missing",
      "'model.layers.0.mlp.up_proj.weight' has shape=(12, 8), not (13, 8)",
      "'model.layers.1.mlp.up_proj.weight' is not expected",
    ):
      self.assertIn(part, message)
    self.assertEqual(message.count(";"), 4 + 5 + 12 - 1)

  def test_a_file_cut_short_is_named(self):
    toy_models.save(self.folder, LLAMA)
    path = self.folder / pretrained.TENSORS
    path.write_bytes(path.read_bytes()[:-1])
    with self.assertRaisesRegex(ValueError, f"{path} is cut short"):
      hugging_face.load(self.folder)

  @parameterized.parameters(
    (dict(architectures=["Mamba"]), "Mamba'.* has none of .*'GPT2LMHeadModel'"),
    (dict(quantization_config=dict(bits=4)), "quantised tensors cannot be"),
    (dict(num_key_value_heads=3), "num_heads=2 is not a multiple of num_key"),
  )
  def test_settings_of_another_model_are_refused(self, settings, message):
    toy_models.save(self.folder, LLAMA)
    self.set(**settings)
    with self.assertRaisesRegex(
      ValueError, f"{self.folder}/config.json: .*{message}"
    ):
      hugging_face.load(self.folder)

  @parameterized.parameters(
    (dict(mixer="forgetting"), "mixer: 'softmax' there, 'forgetting' here"),
    (dict(biases=("query",)), r"biases: .* there, \('query',\) here"),
    (
      dict(norm="layer", num_positions=3),
      "norm: .*; num_positions: None there",
    ),
    (dict(mup_base_width=4), "mup_base_width: None there, 4 here"),
  )
  def test_a_model_that_they_do_not_have_is_not_saved(self, changes, message):
    config = dataclasses.replace(
      toy_models.CONFIGS[LLAMA], rotary_stretch=(), **changes
    )
    with self.assertRaisesRegex(
      ValueError, f"{LLAMA} is another model: {message}"
    ):
      hugging_face.save(self.folder, LLAMA, config, {})
    self.assertFalse(self.folder.exists())


if __name__ == "__main__":
  absltest.main()
