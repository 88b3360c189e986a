"""Tests for the families of simplex/interop, and what they share."""

from absl.testing import absltest, parameterized

from simplex.interop import families, family

# Of SmolLM2-like, Llama 3.2, Qwen2.5 and GPT-2, cut to what is read.
LLAMA = dict(
  architectures=["LlamaForCausalLM"],
  vocab_size=49152,
  hidden_size=576,
  num_hidden_layers=30,
  num_attention_heads=9,
  num_key_value_heads=3,
  intermediate_size=1536,
  rms_norm_eps=1e-5,
  rope_theta=100000,
  tie_word_embeddings=True,
  hidden_act="silu",
)
SCALING = dict(
  rope_type="llama3",
  factor=32.0,
  low_freq_factor=1.0,
  high_freq_factor=4.0,
  original_max_position_embeddings=8192,
)
GPT2 = dict(
  architectures=["GPT2LMHeadModel"],
  vocab_size=50257,
  n_positions=1024,
  n_embd=768,
  n_layer=12,
  n_head=12,
)


def fields(**settings):
  return family.fields(families.find(settings), settings)


class FamiliesTest(parameterized.TestCase):
  def test_llama_is_read(self):
    found = fields(**LLAMA)
    self.assertEqual(
      found,
      dict(
        vocab_size=49152,
        width=576,
        num_layers=30,
        num_heads=9,
        num_key_heads=3,
        head_width=None,
        feed_forward_width=1536,
        norm_epsilon=1e-5,
        tie_embeddings=True,
        norm="rms",
        feed_forward="swiglu",
        mixer="softmax",
        rotary_base=100_000.0,
        rotary_stretch=(),
        biases=(),
      ),
    )

  @parameterized.parameters(
    (dict(rope_scaling=SCALING), (32.0, 1.0, 4.0, 8192.0)),
    (dict(rope_scaling=dict(type="linear", factor=2)), (2.0, 0.0, 1.0, 0.0)),
    (dict(rope_parameters=SCALING | dict(rope_theta=7)), (32.0, 1, 4, 8192)),
    (dict(rope_parameters=dict(rope_type="default", rope_theta=7)), ()),
  )
  def test_both_forms_of_scaling_are_read(self, settings, stretch):
    found = fields(**LLAMA, **settings)
    self.assertEqual(found["rotary_stretch"], stretch)
    base = 7.0 if "rope_parameters" in settings else 100_000.0
    self.assertEqual(found["rotary_base"], base)

  def test_qwen2_has_biases_of_queries_keys_and_values(self):
    found = fields(**LLAMA | dict(architectures=["Qwen2ForCausalLM"]))
    self.assertEqual(found["biases"], ("query", "key", "value"))

  def test_llama_may_have_biases(self):
    biased = dict(attention_bias=True, mlp_bias=True)
    self.assertEqual(
      fields(**LLAMA, **biased)["biases"],
      ("query", "key", "value", "out", "up", "gate", "down"),
    )

  def test_gpt2_has_its_defaults(self):
    found = fields(**GPT2)
    self.assertEqual(
      (found["mixer"], found["norm"], found["norm_epsilon"]),
      ("nope", "layer", 1e-5),
    )
    self.assertEqual(found["num_positions"], 1024)
    self.assertTrue(found["tie_embeddings"])
    self.assertIsNone(found["feed_forward_width"])

  @parameterized.parameters(
    LLAMA,
    LLAMA | dict(rope_scaling=SCALING, mlp_bias=True),
    LLAMA | dict(rope_scaling=dict(rope_type="linear", factor=2.0)),
    LLAMA | dict(architectures=["Qwen2ForCausalLM"], head_dim=7),
    GPT2 | dict(n_inner=7),
  )
  def test_settings_are_the_inverse_of_fields(self, **settings):
    kind = families.find(settings)
    found = family.fields(kind, settings)
    (name,) = settings["architectures"]
    again = family.settings(name, kind, found)
    self.assertEqual(families.find(again), kind)
    self.assertEqual(family.fields(kind, again), found)

  @parameterized.parameters(
    (dict(eos_token_id=2), (2,)),
    (dict(eos_token_id=[2, 3]), (2, 3)),
    (dict(eos_token_id=None), ()),
    ({}, ()),
  )
  def test_stop_tokens_are_one_or_several(self, settings, tokens):
    self.assertEqual(families.stop_tokens(settings), tokens)

  def test_a_bare_name_gets_its_prefix(self):
    kind = families.FAMILIES["GPT2LMHeadModel"]
    for name, whole in (
      ("wte.weight", "transformer.wte.weight"),
      ("transformer.wte.weight", "transformer.wte.weight"),
      ("lm_head.weight", "lm_head.weight"),
    ):
      self.assertEqual(family.full_name(kind, name), whole)

  @parameterized.parameters(
    (
      dict(architectures=["MambaForCausalLM"]),
      r"architectures=\['MambaForCausalLM'\] has none of \['GPT2LMHeadModel', "
      r"'LlamaForCausalLM', 'Qwen2ForCausalLM'\]",
    ),
    (
      dict(architectures=["LlamaForCausalLM"], vocab_size=3, hidden_size=8),
      r"missing settings: \['num_hidden_layers', 'num_attention_heads', 'inter",
    ),
    (
      LLAMA | dict(hidden_act="gelu", quantization_config=dict(bits=4)),
      r"hidden_act='gelu' is not one of \['silu'\]; quantization_config: quan",
    ),
    (
      GPT2 | dict(scale_attn_by_inverse_layer_idx=True),
      r"scale_attn_by_inverse_layer_idx=True is not one of \[False\]",
    ),
    (
      LLAMA | dict(rope_scaling=dict(rope_type="yarn", factor=4)),
      r"rope_type='yarn' is not one of \['default', 'linear', 'llama3'\]",
    ),
    (
      LLAMA | dict(rope_scaling=dict(rope_type="llama3", factor=4)),
      r"missing settings: \['low_freq_factor', 'high_freq_factor', 'original",
    ),
  )
  def test_other_models_are_refused(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      fields(**settings)


if __name__ == "__main__":
  absltest.main()
