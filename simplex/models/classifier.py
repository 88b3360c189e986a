"""An encoder that answers questions: a class for each of the last positions."""

import dataclasses

from flax import linen as nn
import jax.numpy as jnp

from simplex.models import layers, mixers
from simplex.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes and choices.

  Attributes:
    vocab_size: V, the number of tokens.
    num_classes: K.
    length: T, the positions that have an embedding.
    num_queries: how many of the last positions are classified; None is all.
      With one layer, no other position asks, which saves nearly all of the
      work.
    width: E, a multiple of `num_heads` unless `head_width` is given.
    num_layers: L, at least 1; layers before the last keep all positions.
    num_heads: H.
    head_width: D; None is E / H.
    mixer: a key of `mixers.MIXERS`.
    windows: of the mixer; empty is all positions.
    scale: factor of the logits of the mixer; None is `1 / sqrt(D)`.
    implementation: of a simplicial mixer; None is the best for the device. For
      a few short sequences on a CPU, "reference" is.
    causal: whether a position sees itself and its past alone.
    feed_forward: a key of `layers.FEED_FORWARDS`.
    features: hidden width of the feed-forward layers; 0 is none.
    position_std: of the initial embeddings of positions; those of tokens have
      1. Small, so that tasks without an order do not have to unlearn one.
  """

  vocab_size: int = 32
  num_classes: int = 2
  length: int = 8
  num_queries: int | None = 1
  width: int = 32
  num_layers: int = 1
  num_heads: int = 4
  head_width: int | None = None
  mixer: str = "simplicial"
  windows: tuple[int, ...] = ()
  scale: float | None = 1.0
  implementation: str | None = None
  causal: bool = True
  feed_forward: str = "gelu"
  features: int = 0
  position_std: float = 0.02

  def __post_init__(self):
    for name in ("vocab_size", "num_classes", "length", "width", "num_layers"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
    if self.num_heads < 1 or (
      not self.head_width and self.width % self.num_heads
    ):
      raise ValueError(
        f"num_heads={self.num_heads} must divide width={self.width}"
      )
    if self.features < 0:
      raise ValueError(f"features={self.features} must be at least 0")
    if self.num_queries is not None and not (
      1 <= self.num_queries <= self.length
    ):
      raise ValueError(
        f"num_queries={self.num_queries} must be from 1 to "
        f"length={self.length}, or None"
      )
    if self.feed_forward not in layers.FEED_FORWARDS:
      raise ValueError(
        f"feed_forward={self.feed_forward!r} is not one of "
        f"{sorted(layers.FEED_FORWARDS)}"
      )
    _mixer(self, None)  # or says why


class Classifier(nn.Module):
  """Maps `tokens_BT`, in [0, V), to float32 logits `[B, num_queries, K]`.

  Pre-norm residual layers, each a token mixer and a feed-forward network, on
  embeddings of tokens plus embeddings of positions.
  """

  config: Config

  @nn.compact
  def __call__(self, tokens_BT: Array) -> Array:
    cfg = self.config
    T = tokens_BT.shape[1]
    embed = nn.Embed(
      cfg.vocab_size,
      cfg.width,
      embedding_init=nn.initializers.normal(1.0),
      name="embed",
    )
    place_TE = self.param(
      "positions",
      nn.initializers.normal(cfg.position_std),
      (cfg.length, cfg.width),
    )
    x_BTE = embed(tokens_BT) + place_TE[:T]
    for i in range(cfg.num_layers):
      x_BTE = self._layer(x_BTE, i)
    x_BTE = nn.RMSNorm(name="norm")(x_BTE)
    return nn.Dense(cfg.num_classes, use_bias=False, name="head")(x_BTE).astype(
      jnp.float32
    )

  def _layer(self, x_BTE, i):
    cfg = self.config
    Q = cfg.num_queries if i == cfg.num_layers - 1 else None
    mixer = _mixer(cfg, Q).clone(parent=self, name=f"mixer_{i}")
    norm = lambda name: nn.RMSNorm(name=f"{name}_norm_{i}")
    positions_BT = jnp.arange(x_BTE.shape[1])[None]
    y_BTE = mixer(norm("mixer")(x_BTE), positions_BT)
    y_BTE += x_BTE if Q is None else x_BTE[:, -Q:]
    if not cfg.features:
      return y_BTE
    feed_forward = layers.FeedForward(
      cfg.features, activation=cfg.feed_forward, name=f"feed_forward_{i}"
    )
    return y_BTE + feed_forward(norm("feed_forward")(y_BTE))


def _mixer(cfg, num_queries):
  """A module yet without parameters."""
  options = {}
  if mixers.is_simplicial(cfg.mixer):
    # How many pairs match is in the size of the output.
    options = {"normalize_output": False, "implementation": cfg.implementation}
  return mixers.make(
    cfg.mixer,
    num_heads=cfg.num_heads,
    head_width=cfg.head_width,
    scale=cfg.scale,
    rotary=False,
    windows=cfg.windows,
    causal=None if cfg.causal else False,
    num_queries=num_queries,
    **options,
  )
