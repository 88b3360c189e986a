"""Models of the `transformers` package, through its files, in both directions.

Skipped where torch and transformers are not installed.
"""

import functools
import importlib.util
import pathlib

from absl.testing import absltest, parameterized
import jax
import numpy as np

from launch import hugging_face
from simplex.adapters import adapter, paths
from simplex.models import transformer

SIZES = dict(
  vocab_size=23,
  hidden_size=16,
  intermediate_size=24,
  num_hidden_layers=2,
  num_attention_heads=4,
  num_key_value_heads=2,
)
LLAMA3 = dict(
  rope_type="llama3",
  rope_theta=50.0,
  factor=4.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=32,
)
LINEAR = dict(rope_type="linear", rope_theta=100.0, factor=2.0)
MODELS = {
  "llama": ("LlamaForCausalLM", SIZES | dict(rms_norm_eps=1e-3)),
  "llama_tied": (
    "LlamaForCausalLM",
    SIZES | dict(tie_word_embeddings=True, rope_parameters=LINEAR),
  ),
  "llama_stretched": (
    "LlamaForCausalLM",
    SIZES | dict(rope_parameters=LLAMA3, head_dim=12, attention_bias=True),
  ),
  "llama_biases": ("LlamaForCausalLM", SIZES | dict(mlp_bias=True)),
  "qwen2": ("Qwen2ForCausalLM", SIZES),
  "qwen2_tied": ("Qwen2ForCausalLM", SIZES | dict(tie_word_embeddings=True)),
  "gpt2": (
    "GPT2LMHeadModel",
    dict(vocab_size=23, n_embd=16, n_layer=2, n_head=2, n_positions=20),
  ),
  "gpt2_untied": (
    "GPT2LMHeadModel",
    dict(vocab_size=23, n_embd=16, n_layer=2, n_head=2, n_positions=20)
    | dict(tie_word_embeddings=False, n_inner=10, layer_norm_epsilon=1e-3),
  ),
}


def theirs(name: str):
  """A random model; its biases and norms are not the 0 and 1 of a new one."""
  import torch
  import transformers

  architecture, settings = MODELS[name]
  kind = getattr(transformers, architecture)
  torch.manual_seed(0)
  ends = dict(bos_token_id=0, eos_token_id=1)
  model = kind(kind.config_class(**settings, **ends)).eval()
  with torch.no_grad():
    for x in model.parameters():
      x.add_(0.2 * torch.randn_like(x))
  return model


def logits(model, tokens_BT):
  import torch

  with torch.no_grad():
    return model(torch.tensor(tokens_BT)).logits.numpy()


class ParityTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    for name in ("torch", "transformers"):
      if importlib.util.find_spec(name) is None:
        self.skipTest(f"{name} is not installed")
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.tokens_BT = np.random.default_rng(0).integers(0, 23, (2, 16))

  @parameterized.parameters(*MODELS)
  def test_logits_are_those_of_transformers_whole_and_cached(self, name):
    model = theirs(name)
    model.save_pretrained(self.folder)
    expected = logits(model, self.tokens_BT)
    config, params = hugging_face.load(self.folder)
    ours = transformer.Transformer(config)
    found = jax.jit(ours.apply)(params, self.tokens_BT)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    extend = jax.jit(functools.partial(ours.apply, method="extend"))
    caches, pieces = ours.init_cache(2, 16), []
    for start, end in ((0, 10), (10, 11), (11, 16)):
      piece, caches = extend(params, self.tokens_BT[:, start:end], caches)
      pieces.append(piece)
    np.testing.assert_allclose(np.hstack(pieces), expected, atol=1e-5)

  @parameterized.parameters(*MODELS)
  def test_transformers_reads_what_we_write(self, name):
    import transformers

    model = theirs(name)
    model.save_pretrained(self.folder, max_shard_size="10KB")
    scanned = name.endswith("_tied")
    config, params = hugging_face.load(self.folder, scan_layers=scanned)
    hugging_face.save(
      self.folder / "ours",
      MODELS[name][0],
      config,
      params,
      max_file_bytes=8_000,
    )
    again, info = transformers.AutoModelForCausalLM.from_pretrained(
      self.folder / "ours", output_loading_info=True
    )
    self.assertFalse(any(info.values()), info)
    np.testing.assert_array_equal(
      logits(again.eval(), self.tokens_BT), logits(model, self.tokens_BT)
    )


class AdapterParityTest(parameterized.TestCase):
  """LoRA of the `peft` package on a model of `transformers`."""

  def setUp(self):
    super().setUp()
    for name in ("torch", "transformers", "peft"):
      if importlib.util.find_spec(name) is None:
        self.skipTest(f"{name} is not installed")
    self.folder = pathlib.Path(self.create_tempdir().full_path)
    self.tokens_BT = np.random.default_rng(0).integers(0, 23, (2, 16))

  @parameterized.parameters(
    ("llama", ["q_proj", "down_proj"]), ("gpt2", ["mlp.c_proj"])
  )
  def test_a_folder_of_peft_makes_the_same_changes(self, name, targets):
    import peft as real

    model = theirs(name)
    model.save_pretrained(self.folder / "base")
    settings = real.LoraConfig(
      r=2, lora_alpha=3, target_modules=targets, init_lora_weights=False
    )
    changed = real.get_peft_model(model, settings).eval()
    expected = logits(changed, self.tokens_BT)
    changed.save_pretrained(self.folder / "adapter")
    config, params = hugging_face.load(self.folder / "base")
    modules = hugging_face.adapter_modules(MODELS[name][0], config)
    factors = hugging_face.load_adapter(self.folder / "adapter", modules)
    self.assertLen(factors, 2 * len(targets))
    kernels = paths.pick(params, factors)
    merged = paths.place(
      params, {p: adapter.change(kernels[p], f) for p, f in factors.items()}
    )
    ours = transformer.Transformer(config)
    found = jax.jit(ours.apply)(merged, self.tokens_BT)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    hugging_face.save_adapter(self.folder / "ours", factors, modules)
    again = real.PeftModel.from_pretrained(theirs(name), self.folder / "ours")
    np.testing.assert_allclose(
      logits(again.eval(), self.tokens_BT), expected, atol=1e-5
    )


if __name__ == "__main__":
  absltest.main()
