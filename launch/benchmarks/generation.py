"""Generation: tokens drawn in a second with caches, and over the loop without.

The default byte model (width 128, 4 layers, 4 heads), 16 texts of 128 bytes
that get 128 more. Without caches, every token costs a pass over the whole
text; the sampler is the same.
"""

import functools

import jax
import jax.numpy as jnp

from launch import timing
from simplex.models import transformer
from simplex.sampling import decode
from simplex.types import Array, Params

BATCH, PROMPT, NEW = 16, 128, 128
CONFIG = transformer.Config()


def run() -> list[dict]:
  """Rows with seconds, tokens in a second, and the ratio to the loop."""
  model = transformer.Transformer(CONFIG)
  prompt_BT = jax.random.randint(
    jax.random.key(0), (BATCH, PROMPT), 0, CONFIG.vocab_size
  )
  params = jax.jit(model.init)(jax.random.key(1), prompt_BT)
  loops = {"cached": cached, "uncached": uncached}
  fns = {
    name: functools.partial(jax.jit(generation(model, loop)), params, prompt_BT)
    for name, loop in loops.items()
  }
  seconds = timing.medians(fns, rounds=3)
  return [
    {
      "name": f"generation/{name}",
      "seconds": s,
      "tokens_per_second": BATCH * NEW / s,
      "ratio": seconds["uncached"] / s,
    }
    for name, s in seconds.items()
  ]


def generation(model: transformer.Transformer, loop):
  """`(params, prompt_BT) -> Generated`, where `loop` gives the sampler's."""

  def fn(params, prompt_BT):
    B, T = prompt_BT.shape
    extend_fn, caches = loop(model, params, B, T + NEW)
    key = jax.random.key(2)
    return decode.generate(extend_fn, caches, prompt_BT, key, num_tokens=NEW)

  return fn


def cached(model: transformer.Transformer, params: Params, B: int, length: int):
  """What the sampler extends texts with, and the caches of empty ones."""
  extend_fn = functools.partial(model.apply, params, method="extend")
  return extend_fn, model.init_cache(B, length)


def uncached(
  model: transformer.Transformer, params: Params, B: int, length: int
):
  """The same from whole passes: the text so far stands for the caches."""

  def extend_fn(tokens_BT: Array, text):
    text_BS, seen = text
    T = tokens_BT.shape[1]
    text_BS = jax.lax.dynamic_update_slice(text_BS, tokens_BT, (0, seen))
    logits_BSV = model.apply(params, text_BS)
    new_BTV = jax.lax.dynamic_slice_in_dim(logits_BSV, seen, T, axis=1)
    return new_BTV, (text_BS, seen + T)

  return extend_fn, (
    jnp.zeros((B, length), jnp.int32),
    jnp.zeros((), jnp.int32),
  )
