"""Small classifiers of images that show what is inside them.

Every layer's output is sown as "layers", in order, flattened to [N, E]; the
last is what the head sees. Nothing has a bias, and norms have no parameters,
so that kernels are all there is to initialise: an MLP or a conv net without
norms is homogeneous, of a degree that is its number of kernels.
"""

import dataclasses

from flax import linen as nn
import jax
import jax.numpy as jnp

from simplex.models import layers, mixers
from simplex.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes and choices.

  Attributes:
    kind: a key of `MODELS`.
    num_classes: K.
    width: units, channels or E of each layer.
    depth: for "mlp" and "conv" the number of kernels, the head's included, so
      at least 2; for "resnet" and "vit" the number of blocks, at least 1.
    norm_layers: whether every layer, or branch of a block, is normalised.
    norm_head: whether what the head sees is.
    patch: side of the patches of "vit", a divisor of the image's.
    num_heads: of "vit", a divisor of `width`.
  """

  kind: str = "mlp"
  num_classes: int = 10
  width: int = 64
  depth: int = 6
  norm_layers: bool = False
  norm_head: bool = False
  patch: int = 2
  num_heads: int = 4

  def __post_init__(self):
    if self.kind not in MODELS:
      raise ValueError(f"kind={self.kind!r} is not one of {list(MODELS)}")
    least = 2 if self.kind in ("mlp", "conv") else 1
    if self.depth < least:
      raise ValueError(
        f"depth={self.depth} of {self.kind!r} must be at least {least}"
      )
    for name in ("num_classes", "width", "patch", "num_heads"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
    if self.width % self.num_heads:
      raise ValueError(
        f"num_heads={self.num_heads} must divide width={self.width}"
      )


class Classifier(nn.Module):
  """Maps images `[N, Y, X, C]` to logits `[N, K]`; see `Config`.

  Inputs of "mlp" may have any shape after N.
  """

  config: Config

  @nn.compact
  def __call__(self, x_NYXC: Array) -> Array:
    cfg = self.config
    x_NE = MODELS[cfg.kind](cfg, name="body")(x_NYXC, self._show)
    if cfg.norm_head:
      x_NE = _norm(x_NE)
    return _dense(cfg.num_classes, "head")(x_NE)

  def _show(self, x: Array) -> None:
    self.sow("intermediates", "layers", x.reshape(x.shape[0], -1))


class MLP(nn.Module):
  """ReLU of dense layers."""

  config: Config

  @nn.compact
  def __call__(self, x, show) -> Array:
    cfg = self.config
    x_NE = x.reshape(x.shape[0], -1)
    for i in range(cfg.depth - 1):
      x_NE = _dense(cfg.width, f"layer_{i}")(x_NE)
      x_NE = jax.nn.relu(_norm(x_NE) if cfg.norm_layers else x_NE)
      show(x_NE)
    return x_NE


class Conv(nn.Module):
  """ReLU of 3 x 3 convolutions, halved after every second, then the mean."""

  config: Config

  @nn.compact
  def __call__(self, x_NYXC, show) -> Array:
    cfg = self.config
    for i in range(cfg.depth - 1):
      x_NYXC = _conv(cfg.width, f"layer_{i}")(x_NYXC)
      x_NYXC = jax.nn.relu(_norm(x_NYXC) if cfg.norm_layers else x_NYXC)
      if i % 2:
        x_NYXC = _halved(x_NYXC)
      # The mean over places is part of the last layer: the head sees it.
      show(x_NYXC.mean((1, 2)) if i == cfg.depth - 2 else x_NYXC)
    return x_NYXC.mean((1, 2))


class ResNet(nn.Module):
  """A convolution, then blocks x + conv(relu(conv(relu(x)))), halved."""

  config: Config

  @nn.compact
  def __call__(self, x_NYXC, show) -> Array:
    cfg = self.config
    maybe_norm = _norm if cfg.norm_layers else lambda x: x
    x_NYXC = _conv(cfg.width, "stem")(x_NYXC)
    show(x_NYXC)
    for i in range(cfg.depth):
      y_NYXC = x_NYXC
      for j in range(2):
        y_NYXC = jax.nn.relu(maybe_norm(y_NYXC))
        y_NYXC = _conv(cfg.width, f"block_{i}_{j}")(y_NYXC)
      x_NYXC = _halved(x_NYXC + y_NYXC)
      if i < cfg.depth - 1:
        show(x_NYXC)
    x_NE = jax.nn.relu(x_NYXC).mean((1, 2))
    show(x_NE)
    return x_NE


class ViT(nn.Module):
  """Attention and feed-forward blocks on patches, then the mean of these."""

  config: Config

  @nn.compact
  def __call__(self, x_NYXC, show) -> Array:
    cfg = self.config
    maybe_norm = _norm if cfg.norm_layers else lambda x: x
    x_NTE = _dense(cfg.width, "patches")(_patches(x_NYXC, cfg.patch))
    T = x_NTE.shape[1]
    place = nn.initializers.normal(1.0)
    x_NTE += self.param("positions", place, (T, cfg.width))
    show(x_NTE)
    for i in range(cfg.depth):
      attention = mixers.MIXERS["nope"](
        num_heads=cfg.num_heads, causal=False, name=f"attention_{i}"
      )
      feed_forward = layers.FeedForward(4 * cfg.width, name=f"mlp_{i}")
      x_NTE += attention(maybe_norm(x_NTE), jnp.arange(T)[None])
      x_NTE += feed_forward(maybe_norm(x_NTE))
      if i < cfg.depth - 1:
        show(x_NTE)
    x_NE = x_NTE.mean(1)
    show(x_NE)
    return x_NE


MODELS = {"mlp": MLP, "conv": Conv, "resnet": ResNet, "vit": ViT}


def _dense(width: int, name: str) -> nn.Dense:
  he = nn.initializers.he_normal()
  return nn.Dense(width, use_bias=False, kernel_init=he, name=name)


def _conv(width: int, name: str) -> nn.Conv:
  he = nn.initializers.he_normal()
  return nn.Conv(width, (3, 3), use_bias=False, kernel_init=he, name=name)


def _norm(x: Array) -> Array:
  """Mean 0 and variance 1 over the last axis."""
  x = x - x.mean(-1, keepdims=True)
  return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)


def _halved(x_NYXC: Array) -> Array:
  """The mean of squares of 2 x 2; images of fewer than 4 rows stay."""
  if min(x_NYXC.shape[1:3]) < 4:
    return x_NYXC
  return nn.avg_pool(x_NYXC, (2, 2), strides=(2, 2))


def _patches(x_NYXC: Array, side: int) -> Array:
  N, Y, X, C = x_NYXC.shape
  if Y % side or X % side:
    raise ValueError(f"patch={side} must divide the image's sides {Y} and {X}")
  x = x_NYXC.reshape(N, Y // side, side, X // side, side, C)
  return x.swapaxes(2, 3).reshape(N, -1, side * side * C)
