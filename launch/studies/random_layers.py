"""Attention layers as a model initialises them, and the law they should have.

The layer is `simplex.models.mixers.Softmax`: by default Flax's truncated
normals, or the normals that the theory supposes.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import attention_limit, attention_moments
from simplex.models import mixers
from simplex.types import Array, Key, Params

_AT_ONCE = 4  # layers that are initialised together


@dataclasses.dataclass(frozen=True)
class Config:
  """A layer of width E, with H heads of width D, on T fixed causal tokens."""

  width: int = 256
  num_heads: int = 2
  head_width: int = 128
  num_tokens: int = 6
  correlation: float = 0.2  # of the tokens
  num_draws: int = 500  # initialisations, for each seed
  exact_draws: int = 2**13  # by the law, for each seed

  def __str__(self):
    return (
      f"width {self.width}, {self.num_heads} heads of {self.head_width}, "
      f"{self.num_tokens} causal tokens"
    )


class Outputs(NamedTuple):
  """Of N layers; the last token is the one that sees all.

  Attributes:
    first: the first coordinate of the last token `[N]`.
    ratio: it over the root mean square of the token's other coordinates `[N]`.
    square: mean square of all coordinates of the last token `[N]`.
    kernel: products of tokens, mean over coordinates and layers `[T, T]`.
  """

  first: Array
  ratio: Array
  square: Array
  kernel: Array


class Law(NamedTuple):
  """What the exact law says: outputs `[N]` of the last token, and moments."""

  first: Array
  moments: attention_moments.Moments


def tokens(key: Key, config: Config) -> Array:
  """Normal tokens `[T, E]`, drawn once: their Gram matrix is what it is."""
  T, rho = config.num_tokens, config.correlation
  root_TS = attention_limit.root(rho + (1 - rho) * np.eye(T))
  return root_TS @ jax.random.normal(key, (T, config.width))


def law(key: Key, config: Config, sigma_TS: np.ndarray) -> Law:
  """Draws by the exact law of the layer, given Sigma of its inputs."""
  draws = attention_limit.sample_finite(
    key,
    sigma_TS,
    config.num_heads,
    num_samples=config.exact_draws,
    width=config.width,
    head_width=config.head_width,
    mask_TS=np.tri(config.num_tokens, dtype=bool),
  )
  moments, _ = attention_moments.estimate(draws.covariances)
  return Law(draws.outputs[: config.num_draws, -1, 0], moments)


def initialised(
  key: Key, config: Config, x_TE: Array, *, normal: bool
) -> Outputs:
  """Outputs of layers that are initialised anew.

  Args:
    key: of the initialisations.
    config: of the layer.
    x_TE: its inputs.
    normal: whether weights are normal, as the theory supposes; otherwise they
      are the mixer's own, normals that Flax cuts at two deviations.
  """
  mixer = mixers.Softmax(
    config.num_heads,
    rotary=False,
    head_width=config.head_width,
  )
  inputs = (x_TE[None], jnp.arange(config.num_tokens)[None])

  def one(key):
    params = mixer.init(key, *inputs)
    if normal:
      params = _refilled(key, params)
    y_TE = mixer.apply(params, *inputs)[0]
    last_E = y_TE[-1]
    others = jnp.sqrt(jnp.mean(last_E[1:] ** 2))
    square = jnp.mean(last_E**2)
    return last_E[0], last_E[0] / others, square, attention_limit.gram(y_TE)

  keys = jax.random.split(key, config.num_draws)
  *vectors, kernels_NTT = jax.lax.map(one, keys, batch_size=_AT_ONCE)
  return Outputs(*vectors, kernels_NTT.mean(axis=0))


def _refilled(key: Key, params: Params) -> Params:
  """Every kernel `[inputs, outputs]` with normals of variance 1 / inputs."""
  leaves, tree = jax.tree.flatten(params)
  keys = jax.random.split(key, len(leaves))
  normal = lambda key, w: jax.random.normal(key, w.shape) / np.sqrt(w.shape[0])
  return tree.unflatten(map(normal, keys, leaves))
