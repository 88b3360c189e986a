"""Autoencoders of images with a linear bottleneck (Fumero et al. 2025)."""

import dataclasses
import math

from flax import linen as nn

from simplex.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes and choices.

  Attributes:
    shape: of an image: rows, columns, channels.
    latent: width of the bottleneck.
    kind: a key of `KINDS`.
    widths: of the hidden layers of the encoder; the decoder has them in
      reverse. For "conv", channels of 3 x 3 convolutions of stride 2: the paper
      has d, 2d, 4d, 8d (Table 4).
  """

  shape: tuple[int, ...] = (8, 8, 1)
  latent: int = 8
  kind: str = "dense"
  widths: tuple[int, ...] = (128,)

  def __post_init__(self):
    if self.kind not in KINDS:
      raise ValueError(f"kind={self.kind!r} is not one of {list(KINDS)}")
    if len(self.shape) != 3:
      raise ValueError(f"shape={self.shape} is not rows, columns, channels")
    if min(self.latent, *self.widths, *self.shape) < 1 or not self.widths:
      raise ValueError(
        f"shape={self.shape}, latent={self.latent} and widths={self.widths} "
        "must hold numbers of at least 1"
      )


class _Dense(nn.Module):
  """A perceptron of an image."""

  config: Config

  def setup(self):
    widths = self.config.widths
    self.down = [nn.Dense(width) for width in widths]
    self.code = nn.Dense(self.config.latent)
    self.up = [nn.Dense(width) for width in reversed(widths)]
    self.out = nn.Dense(math.prod(self.config.shape))

  def encode(self, image_BYXC):
    x_BF = image_BYXC.reshape(len(image_BYXC), -1)
    for layer in self.down:
      x_BF = nn.gelu(layer(x_BF))
    return self.code(x_BF)

  def decode(self, z_BD):
    for layer in self.up:
      z_BD = nn.gelu(layer(z_BD))
    return self.out(z_BD).reshape(-1, *self.config.shape)


class _Conv(nn.Module):
  """Strided convolutions down, transposed ones up; what sticks out is cut."""

  config: Config

  def setup(self):
    rows, columns, channels = self.config.shape
    widths = self.config.widths
    halve = lambda size: -(-size // 2 ** len(widths))
    self.inner = halve(rows), halve(columns), widths[-1]
    kwargs = {"kernel_size": (3, 3), "strides": (2, 2)}
    self.down = [nn.Conv(width, **kwargs) for width in widths]
    self.code = nn.Dense(self.config.latent)
    self.open = nn.Dense(math.prod(self.inner))
    ups = [*reversed(widths[:-1]), channels]
    self.up = [nn.ConvTranspose(width, **kwargs) for width in ups]

  def encode(self, image_BYXC):
    x_BYXC = image_BYXC
    for layer in self.down:
      x_BYXC = nn.gelu(layer(x_BYXC))
    return self.code(x_BYXC.reshape(len(x_BYXC), -1))

  def decode(self, z_BD):
    x_BYXC = self.open(z_BD).reshape(-1, *self.inner)
    for layer in self.up:
      x_BYXC = layer(nn.gelu(x_BYXC))
    rows, columns, _ = self.config.shape
    return x_BYXC[:, :rows, :columns]


KINDS = {"dense": _Dense, "conv": _Conv}


class Autoencoder(nn.Module):
  """Images to codes and back.

  `apply(params, x, method="encode")` and `method="decode"` give the halves,
  from which a latent map `encode(decode(z))` is made.
  """

  config: Config

  def setup(self):
    self.halves = KINDS[self.config.kind](self.config)

  def encode(self, image_BYXC: Array) -> Array:
    """Codes, `[B, latent]`."""
    return self.halves.encode(image_BYXC)

  def decode(self, z_BD: Array) -> Array:
    """Images, `[B, rows, columns, channels]`, in (0, 1).

    Bounded, so that the latent map has a bounded range: codes cannot run away
    when it is iterated.
    """
    return nn.sigmoid(self.halves.decode(z_BD))

  def __call__(self, image_BYXC: Array) -> Array:
    """The images, reconstructed."""
    return self.decode(self.encode(image_BYXC))
