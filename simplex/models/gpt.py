"""GPT-2 in small, with attention that can be linear, watched and biased.

The model of the abrupt-learning paper (Gopalani & Hu 2025,
https://arxiv.org/abs/2506.13688), which is minGPT with linear attention.
"""

import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp

from simplex.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes and choices; the defaults are the paper's.

  Attributes:
    vocab_size: V.
    length: T, the positions that have an embedding.
    width: E, a multiple of `num_heads`.
    num_layers: L.
    num_heads: H.
    attention: a key of `ATTENTIONS`.
    feed_forward_multiple: hidden width of the feed-forward layers, over E.
    init_std: of all matrices and embeddings; those that write to the residual
      stream have it over sqrt(2 L). Biases start at 0.
  """

  vocab_size: int = 18
  length: int = 32
  width: int = 256
  num_layers: int = 1
  num_heads: int = 1
  attention: str = "linear"
  feed_forward_multiple: int = 4
  init_std: float = 0.02

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.type is int and value < 1:
        raise ValueError(f"{field.name}={value} must be at least 1")
    if self.width % self.num_heads:
      raise ValueError(
        f"num_heads={self.num_heads} must divide width={self.width}"
      )
    if self.attention not in ATTENTIONS:
      raise ValueError(
        f"attention={self.attention!r} is not one of {sorted(ATTENTIONS)}"
      )


class GPT(nn.Module):
  """Maps `tokens_BT`, in [0, V), to float32 `logits_BTV`.

  `gain_TS` multiplies the attention of every layer, after any softmax. Sown
  into the collection "intermediates": "hidden" `[B, T, E]` after the last norm,
  and in `layer_<i>` "attention" `[B, H, T, S]`, as it is used.
  """

  config: Config

  @nn.compact
  def __call__(self, tokens_BT: Array, gain_TS: Array | None = None) -> Array:
    cfg = self.config
    T = tokens_BT.shape[1]
    normal = nn.initializers.normal(cfg.init_std)
    embed = nn.Embed(
      cfg.vocab_size, cfg.width, embedding_init=normal, name="embed"
    )
    place_TE = self.param("positions", normal, (cfg.length, cfg.width))
    x_BTE = embed(tokens_BT) + place_TE[:T]
    for i in range(cfg.num_layers):
      x_BTE = Layer(cfg, name=f"layer_{i}")(x_BTE, gain_TS)
    x_BTE = _norm("norm")(x_BTE)
    self.sow("intermediates", "hidden", x_BTE)
    head = nn.Dense(
      cfg.vocab_size, use_bias=False, kernel_init=normal, name="head"
    )
    return head(x_BTE)


class Layer(nn.Module):
  """Pre-norm residual layer: attention, then a feed-forward network."""

  config: Config

  @nn.compact
  def __call__(self, x_BTE: Array, gain_TS: Array | None) -> Array:
    cfg = self.config
    h_BTE = _norm("attention_norm")(x_BTE)
    heads = (*x_BTE.shape[:2], cfg.num_heads, cfg.width // cfg.num_heads)
    q_BTHD, k_BSHD, v_BSHD = (
      _dense(cfg, cfg.width, name)(h_BTE).reshape(heads)
      for name in ("query", "key", "value")
    )
    logits_BHTS = jnp.einsum("BTHD,BSHD->BHTS", q_BTHD, k_BSHD)
    logits_BHTS /= jnp.sqrt(heads[-1])
    causal_TS = jnp.tril(jnp.ones(logits_BHTS.shape[-2:], bool))
    weights_BHTS = ATTENTIONS[cfg.attention](logits_BHTS, causal_TS)
    if gain_TS is not None:
      weights_BHTS *= gain_TS
    self.sow("intermediates", "attention", weights_BHTS)
    y_BTHD = jnp.einsum("BHTS,BSHD->BTHD", weights_BHTS, v_BSHD)
    out = _dense(cfg, cfg.width, "out", residual=True)
    x_BTE += out(y_BTHD.reshape(x_BTE.shape))
    up = _dense(cfg, cfg.feed_forward_multiple * cfg.width, "up")
    h_BTF = jax.nn.gelu(up(_norm("feed_forward_norm")(x_BTE)))
    return x_BTE + _dense(cfg, cfg.width, "down", residual=True)(h_BTF)


def _linear(logits_BHTS, causal_TS):
  return jnp.where(causal_TS, logits_BHTS, 0.0)


def _softmax(logits_BHTS, causal_TS):
  return jax.nn.softmax(logits_BHTS, where=causal_TS)


ATTENTIONS = {"linear": _linear, "softmax": _softmax}


def _norm(name):
  return nn.LayerNorm(epsilon=1e-5, name=name)


def _dense(cfg, features, name, residual=False):
  std = cfg.init_std / (2 * cfg.num_layers) ** 0.5 if residual else cfg.init_std
  kernel_init = nn.initializers.normal(std)
  return nn.Dense(features, kernel_init=kernel_init, name=name)
