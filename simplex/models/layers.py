"""Layers that every model shares."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from simplex.types import Array


def rotary(x_BTHD: Array, positions_BT: Array, base: float = 10_000.0) -> Array:
  """Rotates each pair of channels by an angle that grows with the position.

  RoPE (Su et al. 2021, https://arxiv.org/abs/2104.09864): channels i and
  i + D/2 turn by `position * base**(-2 i / D)`, so that the product of a
  rotated query and a rotated key depends on the positions by their distance.

  Args:
    x_BTHD: queries or keys; an odd last channel is left alone.
    positions_BT: where each row stands; the batch may be 1. Offset or packed
      sequences give their own positions.
    base: the longest wavelength is about `2 pi base` positions.

  Returns:
    The rotated array, in the shape and dtype of `x_BTHD`.
  """
  half = x_BTHD.shape[-1] // 2
  frequency_D = base ** (-jnp.arange(half, dtype=jnp.float32) / max(half, 1))
  angle_BT1D = positions_BT[:, :, None, None] * frequency_D
  cos, sin = jnp.cos(angle_BT1D), jnp.sin(angle_BT1D)
  x1, x2, rest = jnp.split(x_BTHD, (half, 2 * half), axis=-1)
  turned = (x1 * cos - x2 * sin, x2 * cos + x1 * sin)
  return jnp.concatenate((*turned, rest), axis=-1).astype(x_BTHD.dtype)


def initializer(std: float | None) -> nn.initializers.Initializer:
  """Of a kernel: normal of that size, or of `1 / sqrt(fan-in)` for None."""
  if std is None:
    return nn.initializers.lecun_normal()
  return nn.initializers.normal(std)


def dense(module: nn.Module, features: int, name: str) -> nn.Dense:
  """A projection without a bias, as the fields of the module ask for it."""
  return nn.Dense(
    features,
    use_bias=False,
    dtype=module.dtype,
    kernel_init=initializer(module.init_std),
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
  out = nn.Dense(
    width,
    use_bias=False,
    dtype=mixer.dtype,
    kernel_init=initializer(init_std),
    name="out",
  )
  return out(y_BTHD.reshape(B, T, H * D))


class FeedForward(nn.Module):
  """Two dense layers without biases, and what is between them.

  Attributes:
    features: the hidden width F.
    activation: a key of `FEED_FORWARDS`; "swiglu" (Shazeer 2020,
      https://arxiv.org/abs/2002.05202) has a third dense layer, its gate.
    init_std: of the initial kernels; None is `1 / sqrt(fan-in)`.
    dtype: of the activations; parameters are float32.
  """

  features: int
  activation: str = "gelu"
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


FEED_FORWARDS = {
  "relu": lambda h_BTF, gate: jax.nn.relu(h_BTF),
  "gelu": lambda h_BTF, gate: jax.nn.gelu(h_BTF),
  "swiglu": lambda h_BTF, gate: jax.nn.silu(gate()) * h_BTF,
}
