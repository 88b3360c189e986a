"""Layers that every model shares."""

import functools

from flax import linen as nn
import jax
import jax.numpy as jnp

from simplex.types import Array


def rotary(
  x_BTHD: Array,
  positions_BT: Array,
  base: float = 10_000.0,
  stretch: tuple[float, ...] = (),
) -> Array:
  """Rotates each pair of channels by an angle that grows with the position.

  RoPE (Su et al. 2021, https://arxiv.org/abs/2104.09864): channels i and
  i + D/2 turn by `position * base**(-2 i / D)`, so that the product of a
  rotated query and a rotated key depends on the positions by their distance.

  Args:
    x_BTHD: queries or keys; an odd last channel is left alone.
    positions_BT: where each row stands; the batch may be 1. Offset or packed
      sequences give their own positions.
    base: the longest wavelength is about `2 pi base` positions.
    stretch: of the wavelengths, see `stretched`; empty is none.

  Returns:
    The rotated array, in the shape and dtype of `x_BTHD`.
  """
  half = x_BTHD.shape[-1] // 2
  frequency_D = base ** (-jnp.arange(half, dtype=jnp.float32) / max(half, 1))
  if stretch:
    frequency_D = stretched(frequency_D, *stretch)
  angle_BT1D = positions_BT[:, :, None, None] * frequency_D
  cos, sin = jnp.cos(angle_BT1D), jnp.sin(angle_BT1D)
  x1, x2, rest = jnp.split(x_BTHD, (half, 2 * half), axis=-1)
  turned = (x1 * cos - x2 * sin, x2 * cos + x1 * sin)
  return jnp.concatenate((*turned, rest), axis=-1).astype(x_BTHD.dtype)


def stretched(
  frequency_D: Array, factor: float, low: float, high: float, length: float
) -> Array:
  """Lower frequencies, for texts longer than those of the training (Llama 3).

  Meta's `apply_scaling`, https://github.com/meta-llama/llama-models: what turns
  at least `high` times in `length` positions is kept, what turns at most `low`
  times goes `factor` times slower, and between them the two are mixed.
  A `length` of 0 slows all alike: position interpolation (Chen et al. 2023,
  https://arxiv.org/abs/2306.15595).
  """
  turns_D = length * frequency_D / (2 * jnp.pi)
  kept_D = jnp.clip((turns_D - low) / (high - low), 0, 1)
  return kept_D * frequency_D + (1 - kept_D) * frequency_D / factor


def initializer(std: float | None) -> nn.initializers.Initializer:
  """Of a kernel: normal of that size, or of `1 / sqrt(fan-in)` for None."""
  if std is None:
    return nn.initializers.lecun_normal()
  return nn.initializers.normal(std)


def dense(
  module: nn.Module,
  features: int,
  name: str,
  kernel_init: nn.initializers.Initializer | None = None,
) -> nn.Dense:
  """A projection, as the fields of the module ask for it.

  It has a bias if its name is among the module's `biases`, if there are any.
  """
  return nn.Dense(
    features,
    use_bias=name in getattr(module, "biases", ()),
    dtype=module.dtype,
    kernel_init=kernel_init or initializer(module.init_std),
    name=name,
  )


def heads(mixer: nn.Module, x_BTE: Array, num_heads: int, name: str) -> Array:
  """A projection of a mixer's input to heads."""
  B, T, E = x_BTE.shape
  D = mixer.head_width or E // mixer.num_heads
  return dense(mixer, num_heads * D, name)(x_BTE).reshape(B, T, num_heads, D)


def last(mixer: nn.Module, x_BT: Array) -> Array:
  """The positions that ask."""
  return x_BT if mixer.num_queries is None else x_BT[:, -mixer.num_queries :]


def merge(
  mixer: nn.Module, y_BTHD: Array, width: int, init_std: float | None
) -> Array:
  """The output projection of a mixer, from its heads to E."""
  B, T, H, D = y_BTHD.shape
  out = dense(mixer, width, "out", initializer(init_std))
  return out(y_BTHD.reshape(B, T, H * D))


class FeedForward(nn.Module):
  """Two dense layers, and what is between them.

  Attributes:
    features: the hidden width F.
    activation: a key of `FEED_FORWARDS`; "swiglu" (Shazeer 2020,
      https://arxiv.org/abs/2002.05202) has a third dense layer, its gate.
    biases: names of the dense layers that have one, see `projections`.
    init_std: of the initial kernels; None is `1 / sqrt(fan-in)`.
    dtype: of the activations; parameters are float32.
  """

  features: int
  activation: str = "gelu"
  biases: tuple[str, ...] = ()
  init_std: float | None = None
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x_BTE: Array) -> Array:
    h_BTF = FEED_FORWARDS[self.activation](
      dense(self, self.features, "up")(x_BTE),
      lambda: dense(self, self.features, "gate")(x_BTE),
    )
    return dense(self, x_BTE.shape[-1], "down")(h_BTF)


def gated_width(width: int, ratio: float, multiple_of: int = 256) -> int:
  """F of three dense layers that cost what two of `ratio * E` do (LLaMA).

  Touvron et al. 2023, https://arxiv.org/abs/2302.13971: two thirds of
  `ratio * E`, rounded up to a multiple.
  """
  features = int(2 * width * ratio / 3)
  return -(-features // multiple_of) * multiple_of


def projections(activation: str) -> tuple[str, ...]:
  """The names of the dense layers of a feed-forward network."""
  return ("up", "gate", "down") if activation == "swiglu" else ("up", "down")


FEED_FORWARDS = {
  "relu": lambda h_BTF, gate: jax.nn.relu(h_BTF),
  "gelu": lambda h_BTF, gate: jax.nn.gelu(h_BTF),
  "swiglu": lambda h_BTF, gate: jax.nn.silu(gate()) * h_BTF,
}

NORMS = {
  "rms": nn.RMSNorm,
  # The other variance, E[x^2] - E[x]^2, cancels where the mean is large.
  "layer": functools.partial(nn.LayerNorm, use_fast_variance=False),
}
