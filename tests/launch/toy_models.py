"""Tiny models of every family, in the files of Hugging Face."""

import functools
import pathlib

import jax

from launch import hugging_face
from simplex.models import transformer

_SIZES = dict(vocab_size=258, width=8, num_layers=2, num_heads=2)
_LLAMA = functools.partial(
  transformer.Config,
  **_SIZES,
  feed_forward="swiglu",
  feed_forward_width=12,
)
CONFIGS = {
  "LlamaForCausalLM": _LLAMA(
    num_key_heads=1,
    head_width=6,
    rotary_stretch=(4.0, 1.0, 4.0, 16.0),
    rotary_base=50.0,
    biases=("up", "gate", "down"),
  ),
  "Qwen2ForCausalLM": _LLAMA(
    tie_embeddings=True, biases=("query", "key", "value")
  ),
  "GPT2LMHeadModel": transformer.Config(
    **_SIZES,
    mixer="nope",
    norm="layer",
    norm_epsilon=1e-5,
    num_positions=20,
    tie_embeddings=True,
    biases=("query", "key", "value", "out", "up", "down"),
  ),
}


def params(config: transformer.Config):
  """Random parameters, biases too."""
  leaves, tree = jax.tree.flatten(hugging_face.shapes(config))
  keys = jax.random.split(jax.random.key(0), len(leaves))
  draw = lambda key, x: jax.random.normal(key, x.shape)
  return tree.unflatten(map(draw, keys, leaves))


def save(folder: pathlib.Path, architecture: str, **options) -> None:
  config = CONFIGS[architecture]
  made = params(config)
  hugging_face.save(folder, architecture, config, made, **options)
