"""Llama, and Qwen2, which is Llama with biases of queries, keys and values.

Both rotate channels i and i + D/2 of a head, as `layers.rotary` does.
"""

import re

from simplex.interop import rotary
from simplex.interop.family import Family, Fields, Rule, Settings
from simplex.interop.tensors import embedding, linear, norm

TABLE = {
  "model.embed_tokens": embedding("embed"),
  "model.layers.*.input_layernorm": norm("layer_*/mixer_norm"),
  "model.layers.*.self_attn.q_proj": linear("layer_*/mixer/query"),
  "model.layers.*.self_attn.k_proj": linear("layer_*/mixer/key"),
  "model.layers.*.self_attn.v_proj": linear("layer_*/mixer/value"),
  "model.layers.*.self_attn.o_proj": linear("layer_*/mixer/out"),
  "model.layers.*.post_attention_layernorm": norm("layer_*/feed_forward_norm"),
  "model.layers.*.mlp.gate_proj": linear("layer_*/feed_forward/gate"),
  "model.layers.*.mlp.up_proj": linear("layer_*/feed_forward/up"),
  "model.layers.*.mlp.down_proj": linear("layer_*/feed_forward/down"),
  "model.norm": norm("norm"),
  "lm_head": linear("head"),
}
NAMES = {
  "vocab_size": "vocab_size",
  "width": "hidden_size",
  "num_layers": "num_hidden_layers",
  "num_heads": "num_attention_heads",
  "num_key_heads": "num_key_value_heads",
  "head_width": "head_dim",
  "feed_forward_width": "intermediate_size",
  "norm_epsilon": "rms_norm_eps",
  "tie_embeddings": "tie_word_embeddings",
}
ATTENTION = ("query", "key", "value", "out")
FEED_FORWARD = ("up", "gate", "down")


def _read_biases(settings: Settings) -> Fields:
  biases = ATTENTION if settings.get("attention_bias") else ()
  return {"biases": biases + (FEED_FORWARD if settings.get("mlp_bias") else ())}


def _write_biases(fields: Fields) -> Settings:
  biases = fields["biases"]
  return {"attention_bias": "query" in biases, "mlp_bias": "up" in biases}


LLAMA = Family(
  model_type="llama",
  table=TABLE,
  prefix="model.",
  # Buffers of old files, and the head of a model whose head is its embedding.
  unused=re.compile(r".*\.rotary_emb\.inv_freq|lm_head\.weight"),
  names=NAMES,
  defaults={
    "num_key_value_heads": None,
    "head_dim": None,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
  },
  allowed={"hidden_act": ("silu",)},
  constants={"norm": "rms", "feed_forward": "swiglu", "mixer": "softmax"},
  rules=(rotary.RULE, Rule(_read_biases, _write_biases)),
)
QWEN2 = LLAMA._replace(
  model_type="qwen2",
  allowed={**LLAMA.allowed, "use_sliding_window": (False,)},
  constants={**LLAMA.constants, "biases": ("query", "key", "value")},
  rules=(rotary.RULE,),
)
