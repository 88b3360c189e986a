"""GPT-2: learned positions, layer norms, biases, and fused projections."""

import re

from simplex.interop.family import Family
from simplex.interop.tensors import conv1d, embedding, linear, norm

TABLE = {
  "transformer.wte": embedding("embed"),
  "transformer.wpe": embedding("positions"),
  "transformer.h.*.ln_1": norm("layer_*/mixer_norm"),
  "transformer.h.*.attn.c_attn": conv1d(
    "layer_*/mixer/query", "layer_*/mixer/key", "layer_*/mixer/value"
  ),
  "transformer.h.*.attn.c_proj": conv1d("layer_*/mixer/out"),
  "transformer.h.*.ln_2": norm("layer_*/feed_forward_norm"),
  "transformer.h.*.mlp.c_fc": conv1d("layer_*/feed_forward/up"),
  "transformer.h.*.mlp.c_proj": conv1d("layer_*/feed_forward/down"),
  "transformer.ln_f": norm("norm"),
  "lm_head": linear("head"),
}

GPT2 = Family(
  model_type="gpt2",
  table=TABLE,
  prefix="transformer.",
  # Causal masks, and the head of a model whose head is its embedding.
  unused=re.compile(r".*\.attn\.(masked_)?bias|lm_head\.weight"),
  names={
    "vocab_size": "vocab_size",
    "num_positions": "n_positions",
    "width": "n_embd",
    "num_layers": "n_layer",
    "num_heads": "n_head",
    "feed_forward_width": "n_inner",
    "norm_epsilon": "layer_norm_epsilon",
    "tie_embeddings": "tie_word_embeddings",
  },
  defaults={
    "n_inner": None,
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
  },
  allowed={
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
  },
  constants={
    "norm": "layer",
    "feed_forward": "gelu",
    "mixer": "nope",
    "biases": ("query", "key", "value", "out", "up", "down"),
  },
)
