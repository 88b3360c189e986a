r"""The infinite-width limit of an attention layer (Sakai et al. 2025).

With scores q k / sqrt(n) and few heads, a random attention layer does not
become a Gaussian process as it grows: its scores stay random, and its outputs
are Gaussian given the scores alone. https://arxiv.org/abs/2506.00846

python -m launch.run --experiment=infinite_width_attention
python -m launch.run --experiment=infinite_width_attention \
    --set=widths=16,32,64 --set=num_tokens=8 --workdir=runs/eight_tokens

Default: about 400 CPU seconds, some 4 minutes on two cores. Expected, with four
tokens and two heads unless said: the Wasserstein-1 distance to the limit falls
with slope -0.951 [-0.967, -0.935] from n = 16 to 1,024 (0.0404 to 0.00078; the
floor is 0.00015), where the paper's KL is at its floor from n = 256 on; excess
kurtosis of the limit 0.2433 / H at 1 to 16 heads; at n = 256, 256 heads keep
0.0748 [0.0742, 0.0755] where the limit has 0.001: the limits do not commute. A
Flax layer (n = 256, causal, 4,000 initialisations) agrees with its exact law: p
of Kolmogorov-Smirnov 0.72, kernel 0.998 [0.992, 1.003] of the law's; Gaussian
given the layer, p 0.92.

Finite layers are drawn by their exact law at a cost that does not grow with the
width, and real layers, those of `simplex.models.mixers`, are set beside it. As
a library, for a layer of your own:

  sigma = attention_limit.gram(x_TE)  # from the inputs of the layer
  mask = np.tri(len(sigma), dtype=bool)  # causal
  draws = attention_limit.sample_limit(
    jax.random.key(0), sigma, num_heads=2, num_samples=100_000, mask_TS=mask
  )
  moments, errors = attention_moments.estimate(draws.covariances)
"""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from launch.findings import (
  infinite_width_attention as findings,
  infinite_width_attention_pictures as pictures,
)
from launch.studies import random_layers
from simplex.analysis import attention_limit, attention_moments, distances
from simplex.types import Array, Key
from trainers import progress, scan
from trainers.reports import Report

Sampler = Callable[..., attention_limit.Draws]  # of a key and num_samples


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on."""

  seed: int = 0
  num_seeds: int = 8
  num_draws: int = 2**17  # layers, for each seed and setting
  chunk: int = 2**13  # layers that are drawn together
  num_tokens: int = 4
  num_heads: int = 2
  widths: tuple[int, ...] = (16, 64, 256, 1024, 16384)
  heads: tuple[int, ...] = (1, 2, 4, 8, 16)
  many_heads: tuple[int, ...] = (1, 4, 16, 256)  # at the width below
  many_heads_width: int = 256
  many_heads_draws: int = 2**12
  low_rank: tuple[int, ...] = (1, 4, 16)  # heads; the width is theirs in all
  low_rank_width: int = 64  # of a head
  rectified_widths: tuple[int, ...] = (16, 64, 256)
  rectified_draws: int = 2**14
  divergence_draws: int = 50_000
  layer: random_layers.Config = random_layers.Config()

  def __post_init__(self):
    for name in ("widths", "heads", "many_heads", "low_rank"):
      if min(getattr(self, name), default=1) < 1:
        raise ValueError(f"{name}={getattr(self, name)} are not at least 1")
    for name in ("num_draws", "many_heads_draws", "rectified_draws"):
      draws, chunk = getattr(self, name), self.chunk_of(name)
      if draws % chunk:
        raise ValueError(f"chunk={chunk} must divide {name}={draws}")
    if self.divergence_draws > self.num_draws:
      raise ValueError(
        f"divergence_draws={self.divergence_draws} are more than "
        f"num_draws={self.num_draws}"
      )

  def chunk_of(self, name: str) -> int:
    """Fewer where a layer is large: 256 heads, or tokens drawn in full."""
    return self.chunk if name == "num_draws" else max(self.chunk // 64, 1)


def tiny() -> Config:
  """Seconds: no more than one program of every kind, as compiling is slow."""
  return Config(
    num_seeds=2,
    num_draws=2**9,
    chunk=2**7,
    widths=(16, 64),
    heads=(1,),
    many_heads=(),
    many_heads_draws=2**6,
    low_rank=(),
    rectified_widths=(),
    divergence_draws=2**9,
    layer=random_layers.Config(
      width=16, head_width=8, num_tokens=3, num_draws=32
    ),
  )


def paper() -> Config:
  """The paper's widths, heads and ten seeds, with more draws than its 50,000.

  It describes a run that we have not made.
  """
  return Config(
    num_seeds=10,
    num_draws=2**21,
    widths=(16, 64, 256, 1024),
    heads=(1, 2, 4, 16, 256),
    many_heads_draws=2**16,
    rectified_widths=(16, 64, 256, 1024),
    rectified_draws=2**17,
    divergence_draws=100_000,
    layer=random_layers.Config(width=512, head_width=256, num_draws=5000),
  )


def run(config: Config, workdir: str) -> Report:
  """Draws layers of every setting, and initialises real ones."""
  del workdir  # minutes in all: nothing is worth saving before the end
  identity = np.eye(config.num_tokens)
  limit = functools.partial(attention_limit.sample_limit, sigma_TS=identity)
  finite = functools.partial(
    attention_limit.sample_finite, sigma_TS=identity, inputs="gaussian"
  )
  H, widest = config.num_heads, config.many_heads_width
  widths, floor = _widths(config, _law(finite, H), _law(limit, H))
  return findings.report(
    pictures.Found(
      num_tokens=config.num_tokens,
      num_heads=H,
      num_draws=config.num_draws,
      widths=widths,
      floor=floor,
      heads={
        heads: _moments(config, "num_draws", _law(limit, heads))
        for heads in config.heads
      },
      many_heads_width=widest,
      many_heads={
        heads: _moments(
          config, "many_heads_draws", _law(finite, heads, width=widest)
        )
        for heads in config.many_heads
      },
      low_rank_width=config.low_rank_width,
      low_rank={
        heads: _moments(config, "num_draws", _low_rank(config, finite, heads))
        for heads in config.low_rank
      },
      rectified={
        width: _moments(
          config,
          "rectified_draws",
          functools.partial(_law(finite, H, width=width), inputs="rectified"),
        )
        for width in config.rectified_widths
      },
      layer=_layer(config),
    )
  )


def _law(sample: Sampler, num_heads: int, **kwargs) -> Sampler:
  return functools.partial(sample, num_heads=num_heads, **kwargs)


def _low_rank(config: Config, finite: Sampler, heads: int) -> Sampler:
  D = config.low_rank_width
  return _law(finite, heads, width=D * heads, head_width=D)


def _draws(sample: Sampler, key: Key, count: int, chunk: int, pick):
  """What `pick` takes of the draws, chunk by chunk, joined."""
  one = lambda key: pick(sample(key, num_samples=chunk))
  many = jax.lax.map(one, jax.random.split(key, count // chunk))
  return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), many)


def _keys(config: Config, setting: int) -> Key:
  """One key for each seed, others in every setting."""
  key = jax.random.fold_in(jax.random.key(config.seed), setting)
  return jax.random.split(key, config.num_seeds)


def _moments(config: Config, count: str, sample: Sampler) -> pictures.Law:
  """Moments of outputs and scores, one row for each seed."""

  def one(key):
    pick = lambda draws: (draws.covariances, draws.scores[:, 0, 0, 0])
    covariances_NTT, scores_N = _draws(
      sample, key, getattr(config, count), config.chunk_of(count), pick
    )
    return _summary(covariances_NTT, scores_N)

  named = {k: v for k, v in sample.keywords.items() if k != "sigma_TS"}
  progress.show(f"moments of {named}")
  return scan.sweep(one, _keys(config, sample.keywords["num_heads"]))


def _summary(covariances_NTT: Array, scores_N: Array) -> pictures.Law:
  moments, _ = attention_moments.estimate(covariances_NTT)
  kernel_TT = moments.kernel
  T = kernel_TT.shape[0]
  return pictures.Law(
    variance=jnp.trace(kernel_TT) / T,
    covariance=(kernel_TT.sum() - jnp.trace(kernel_TT)) / (T * (T - 1)),
    kurtosis=moments.kurtosis.mean(),
    score_variance=jnp.mean(scores_N**2),
  )


def _widths(
  config: Config, finite: Sampler, limit: Sampler
) -> tuple[dict[int, pictures.Distances], pictures.Distances]:
  """Distances of every width from the limit, and of the limit from itself."""

  def one(setting):
    key, width = setting
    sample = functools.partial(finite, width=width)
    return _distances(config, sample, limit, key)

  # Traced widths: one program serves them all.
  widths_W = jnp.asarray(config.widths, jnp.float32)
  keys_WK = jnp.stack([_keys(config, width) for width in config.widths])
  W, K = keys_WK.shape
  progress.show(f"widths {config.widths}")
  found, floor = scan.sweep(one, (keys_WK.reshape(-1), jnp.repeat(widths_W, K)))
  found = jax.tree.map(lambda x: x.reshape(W, K, *x.shape[1:]), found)
  rows = {
    width: jax.tree.map(lambda x, i=i: x[i], found)
    for i, width in enumerate(config.widths)
  }
  return rows, floor


def _distances(
  config: Config, sample: Sampler, limit: Sampler, key: Key
) -> tuple[pictures.Distances, pictures.Distances]:
  """How far outputs are from the limit's, and the limit's from each other."""
  pick = lambda draws: (
    draws.covariances,
    draws.scores[:, 0, 0, 0],
    draws.outputs[:, 0, 0],
  )
  draw = functools.partial(
    _draws, count=config.num_draws, chunk=config.chunk, pick=pick
  )
  key, limit_key = jax.random.split(key)
  limits = jax.lax.map(
    functools.partial(draw, limit), jax.random.split(limit_key)
  )
  first, second = (jax.tree.map(lambda x, i=i: x[i], limits) for i in range(2))
  few = slice(config.divergence_draws)

  def beside(drawn):
    covariances_NTT, scores_N, outputs_N = drawn
    return pictures.Distances(
      law=_summary(covariances_NTT, scores_N),
      wasserstein=attention_moments.mixture_wasserstein(
        covariances_NTT[:, 0, 0], first[0][:, 0, 0]
      ),
      sampled=distances.wasserstein(outputs_N, first[2]),
      divergence=distances.density_divergence(outputs_N[few], first[2][few]),
      density=_density(covariances_NTT[:, 0, 0]),
    )

  return beside(draw(sample, key)), beside(second)


def _density(variances_N: Array) -> Array:
  """Density of the outputs at `pictures.POINTS`."""

  def at(point):
    bell_N = jnp.exp(-(point**2) / (2 * variances_N))
    return jnp.mean(bell_N / jnp.sqrt(2 * jnp.pi * variances_N))

  return jax.lax.map(at, jnp.asarray(pictures.POINTS, jnp.float32))


def _layer(config: Config) -> pictures.Layer:
  """A mixer's outputs over initialisations, and the exact law of the same."""
  layer = config.layer
  x_TE = random_layers.tokens(jax.random.key(config.seed), layer)
  sigma_TS = np.asarray(attention_limit.gram(x_TE))
  progress.show("the law of real layers")
  law = lambda key: random_layers.law(key, layer, sigma_TS)
  # Twice as many draws, for what a distance shows by chance.
  keys_K = jnp.concatenate([_keys(config, 1), _keys(config, 2)])
  laws = scan.sweep(law, keys_K)
  half = lambda part: jax.tree.map(
    lambda x: x.reshape(2, -1, *x.shape[1:])[part], laws
  )
  arms = {}
  for name, normal in findings.WEIGHTS.items():
    progress.show(f"real layers with {name}")
    one = lambda key, normal=normal: random_layers.initialised(
      key, layer, x_TE, normal=normal
    )
    arms[name] = scan.sweep(one, _keys(config, 3))
  return pictures.Layer(str(layer), layer.width, half(0), half(1), arms)
