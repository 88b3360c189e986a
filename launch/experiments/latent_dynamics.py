r"""Navigating the latent space dynamics of neural models (Fumero et al. 2025).

Autoencoders of images are iterated in their latent space, z <- encode(decode
(z)), to attractors. What bottleneck, noise, data and training time make of
them; whether they tell what a network remembers, what is out of its
distribution, and which dictionary explains its codes.
https://arxiv.org/abs/2505.22785

python -m launch.run --experiment=latent_dynamics
python -m launch.run --experiment=latent_dynamics --set=images=/data/mnist \
    --set=kind=conv --set=widths=16,32,64,128 --workdir=runs/latent_mnist

Default: 3 minutes on two CPU cores. Expected, digits, from 2 dimensions to 32
without noise: cosine to the nearest training image 0.966 to 0.875 (its null,
held-out images, is 0.963), held-out error 2.35 to 0.155, attractors 6.8 to
121; with noise 4 to 16. 20 training images are remembered, 0.25 above the null,
and 1000 are not. Attractors explain codes better than an orthonormal and a
random dictionary. Trajectories lose to every other score out of distribution
(AUROC 41 % without noise, 66 % with it), except to all neighbours of the noisy
model (37 %). Neither the spectral radius nor the norm predicts the steps of far
starts well (correlations 0.37 and 0.42).

Where the paper's formulas and words disagree, both are measured: memorisation
by the minimum and by the maximum of cosines, the rate by the norm and by the
spectral radius, nearest neighbours by ten and by all.

Decoders end in a sigmoid. With a linear end, iterates of models trained
without noise ran away from most starts: of 8 dimensions, 9 % converged.
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from launch.findings import (
  latent_dynamics as findings,
  latent_dynamics_pictures as pictures,
)
from launch.studies import latent_maps, latent_uses
from simplex.data import sources
from simplex.losses import reconstruction
from simplex.models import autoencoder
from simplex.types import Array
from trainers import images, optimizers, progress, scan
from trainers.problem import Problem


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on."""

  seed: int = 0
  images: str = "digits"  # or a folder; see trainers/images.py
  kind: str = "dense"  # a key of autoencoder.KINDS
  widths: tuple[int, ...] = (128,)
  latents: tuple[int, ...] = (2, 4, 8, 16, 32)
  noise: float = 0.3  # standard deviation, of the denoising arm
  num_steps: int = 2000
  batch_size: int = 64
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=3e-3, weight_decay=1e-4
  )
  evals: int = 4  # snapshots after the start, in which training is followed
  grown_latent: int = 8  # whose training is followed
  train_sizes: tuple[int, ...] = (20, 100, 1000)
  size_latent: int = 16  # of the models trained on few images
  num_seeds: int = 5
  at_once: int = 1  # seeds that a device trains together
  num_starts: int = 300
  num_test: int = 200  # images of each set out of distribution
  tolerance: float = 1e-4  # of |f(z) - z|; the paper has 1e-3
  budget: int = 3000
  threshold: float = 0.01  # relative distance, and 1 - cosine
  neighbours: tuple[int, ...] = (1, 10, 100)
  sparsities: tuple[int, ...] = (1, 2, 4, 8)
  grid: int = 60  # points on a side of the plane

  def __post_init__(self):
    for name in ("latents", "train_sizes"):
      values = getattr(self, name)
      if len(values) < 2 or list(values) != sorted(set(values)):
        raise ValueError(f"{name}={values} must be at least two, increasing")
    for name in ("grown_latent", "size_latent"):
      if getattr(self, name) not in self.latents:
        raise ValueError(
          f"{name}={getattr(self, name)} is not among latents={self.latents}"
        )
    if self.latents[0] != 2:
      raise ValueError(f"latents={self.latents} must begin at 2, to be drawn")
    if self.num_steps % self.evals:
      raise ValueError(
        f"evals={self.evals} must divide num_steps={self.num_steps}"
      )
    if self.noise <= 0:
      raise ValueError(f"noise={self.noise} must be above 0")


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    widths=(16,),
    latents=(2, 3),
    num_steps=40,
    batch_size=16,
    evals=2,
    grown_latent=2,
    train_sizes=(12, 40),
    size_latent=2,
    num_seeds=2,
    num_starts=12,
    num_test=10,
    budget=60,
    neighbours=(1,),
    sparsities=(1, 2),
    grid=8,
  )


def paper() -> Config:
  """MNIST with the paper's network and epochs; a run that we have not made.

  Give the folder with `--set=images=`. d of the channels, the activation and
  the batch are not in the paper's text.
  """
  return Config(
    images="mnist",
    kind="conv",
    widths=(16, 32, 64, 128),
    latents=(2, 4, 8, 16, 32, 64, 128, 256, 512),
    num_steps=234_000,
    batch_size=128,
    optimizer=optimizers.Config(
      learning_rate=5e-4, schedule="linear", weight_decay=1e-4
    ),
    evals=12,
    grown_latent=128,
    train_sizes=(100, 1000, 10_000),
    size_latent=128,
    num_starts=5000,
    num_test=2000,
    tolerance=1e-3,
    neighbours=(1, 10, 100, 2000),
    sparsities=(1, 2, 4, 8, 16, 32, 64, 128),
    grid=200,
  )


def model(
  config: Config, latent: int, shape: Sequence[int] = (8, 8, 1)
) -> autoencoder.Config:
  """The autoencoder with a bottleneck of this width."""
  return autoencoder.Config(tuple(shape), latent, config.kind, config.widths)


def problem(
  config: Config,
  latent: int = 8,
  noise: Array | float = 0.0,
  size: Array | int | None = None,
  train_NYXC: Array | None = None,
  test_NYXC: Array | None = None,
) -> Problem:
  """An autoencoder of images.

  Its evals are the error of held-out images, and the parameters themselves.

  Args:
    config: sizes.
    latent: width of the bottleneck.
    noise: standard deviation of what is added to the images it sees.
    size: how many training images are used, the first ones; None is all.
    train_NYXC: training images; None are zeros, of digits' shape.
    test_NYXC: held-out images; None are those of training.
  """
  train_NYXC = jnp.zeros((1, 8, 8, 1)) if train_NYXC is None else train_NYXC
  test_NYXC = train_NYXC if test_NYXC is None else test_NYXC
  size = len(train_NYXC) if size is None else size
  shape = train_NYXC.shape[1:]
  net = autoencoder.Autoencoder(model(config, latent, shape))

  def loss(params, batch, *, key=None, step=None):
    del step
    clean = batch["images"]
    noisy = clean + noise * jax.random.normal(key, clean.shape)
    return reconstruction.squared_error(net.apply(params, noisy), clean)

  def held_out(params, key):
    del key
    made = net.apply(params, test_NYXC)
    return {
      "error": reconstruction.squared_error(made, test_NYXC)[0],
      "parameters": ravel_pytree(params)[0],
    }

  def sample(key):
    return {"images": train_NYXC[jax.random.randint(key, (), 0, size)]}

  init = lambda key: net.init(key, jnp.zeros((1, *shape)))
  source = sources.from_sampler(sample, config.batch_size)
  return Problem(init, loss, source, {"test": held_out})


def run(config: Config, workdir: str):
  """Trains every arm, then follows its latent map."""
  del workdir  # minutes in all: nothing is worth saving before the end
  data = images.load(config.images)
  train_NYXC = jnp.asarray(data.train_NHWC)
  test_NYXC = jnp.asarray(data.test_NHWC)
  every = {}
  for latent in config.latents:
    every |= _arms(config, latent, train_NYXC, test_NYXC)
  N = len(train_NYXC)
  arms = {(k, noise): arm for (k, noise, n), arm in every.items() if n == N}
  few = {n: every[config.size_latent, 0.0, n] for n in config.train_sizes}
  wide, narrow = config.latents[-1], config.latents[0]
  progress.show("out of distribution, dictionaries, rates and the plane")
  return findings.report(
    pictures.Found(
      images=config.images,
      steps=np.linspace(0, config.num_steps, config.evals + 1),
      noise=config.noise,
      starts=config.num_starts,
      limits=_limits(config),
      arms={k: (x.errors, x.summary) for k, x in arms.items()},
      few={k: (x.errors, x.summary) for k, x in few.items()},
      grown=_grown(
        config, arms[config.grown_latent, 0.0], train_NYXC, test_NYXC
      ),
      rates=_rates(config, arms[narrow, 0.0], train_NYXC),
      detection={
        noise: _detection(config, arms[wide, noise], train_NYXC, test_NYXC)
        for noise in (0.0, config.noise)
      },
      sparsities=config.sparsities,
      pursuits=_pursuits(config, arms[wide, 0.0], test_NYXC),
      plane=_plane(config, arms[narrow, 0.0], train_NYXC),
    )
  )


class Arm(NamedTuple):
  """Models of one kind, over seeds.

  Attributes:
    errors: of held-out images, `[seeds, evals]`.
    coders: by seed and snapshot.
    summary: of the last snapshots, arrays `[seeds]`.
  """

  errors: np.ndarray
  coders: Sequence[Sequence[latent_maps.Coder]]
  summary: latent_maps.Summary


def _arms(config, latent, train_NYXC, test_NYXC) -> dict:
  """(latent, noise, images) to its `Arm`; all are trained by one program."""
  N = len(train_NYXC)
  kinds = [(0.0, N), (config.noise, N)]
  if latent == config.size_latent:
    kinds += [(0.0, size) for size in config.train_sizes]
  progress.show(
    f"bottleneck {latent}: {len(kinds)} x {config.num_seeds} models"
  )
  tx = optimizers.make(config.optimizer, config.num_steps)

  def one(setting):
    key, noise, size = setting
    fitted = problem(config, latent, noise, size, train_NYXC, test_NYXC)
    every = config.num_steps // config.evals
    _, _, evals = scan.fit(fitted, tx, key, config.num_steps, eval_every=every)
    return evals["test/error"], evals["test/parameters"]

  keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)
  noises, sizes = (
    np.repeat(x, config.num_seeds) for x in zip(*kinds, strict=True)
  )
  settings = jnp.tile(keys, len(kinds)), noises.astype(np.float32), sizes
  results = scan.sweep(one, settings, at_once=config.at_once)
  cfg = model(config, latent, train_NYXC.shape[1:])
  arms = {}
  for i, (noise, size) in enumerate(kinds):
    mine = slice(i * config.num_seeds, (i + 1) * config.num_seeds)
    errors, flat_SEP = (x[mine] for x in results)
    coders = [[latent_maps.coder(cfg, x) for x in row] for row in flat_SEP]
    # Few images are repeated, so that all arms run the same programs.
    shown_NYXC = jnp.resize(train_NYXC[:size], train_NYXC.shape)
    rows = [
      latent_maps.summary(
        row[-1],
        shown_NYXC,
        test_NYXC,
        config.num_starts,
        _limits(config),
      )
      for row in coders
    ]
    arms[latent, noise, size] = Arm(errors, coders, _columns(rows))
  return arms


def _columns(rows):
  """NamedTuples of numbers as one NamedTuple of arrays over them."""
  return type(rows[0])(*map(np.array, zip(*rows, strict=True)))


def _limits(config: Config) -> latent_maps.Limits:
  return latent_maps.Limits(config.tolerance, config.budget, config.threshold)


def _noise(config: Config, latent: int) -> Array:
  key = jax.random.key(config.seed)
  return jax.random.normal(key, (config.num_starts, latent))


def _grown(config, arm, train_NYXC, test_NYXC):
  """Fields of `latent_maps.Grown`, `[seeds, evals]`."""
  noise_ND = _noise(config, config.grown_latent)
  follow = functools.partial(
    latent_maps.grown,
    train_NYXC=train_NYXC,
    test_NYXC=test_NYXC,
    noise_ND=noise_ND,
    limits=_limits(config),
  )
  rows = [_columns([follow(x) for x in row]) for row in arm.coders]
  return arm.errors, _columns(rows)


def _rates(config, arm, train_NYXC):
  def one(snapshots):
    codes_ND = latent_maps.batched(snapshots[-1].encode, train_NYXC)
    starts_ND = codes_ND[: config.num_starts]
    return latent_maps.rate(snapshots[-1], starts_ND, _limits(config))

  return _columns([one(row) for row in arm.coders])


def _detection(config, arm, train_NYXC, test_NYXC):
  """Score to `[seeds, sets, 3]`, by name, and the names of the sets."""
  some = test_NYXC[: config.num_test]
  outside = latent_uses.corrupted(some, jax.random.key(config.seed))
  sets = {"test": some, **outside}
  found = [
    latent_uses.detection(
      snapshots[-1],
      train_NYXC,
      sets,
      config.num_starts,
      config.neighbours,
      _limits(config),
    )
    for snapshots in arm.coders
  ]
  names = [n for n in found[0] if all(n in x for x in found)]
  return list(outside), {n: np.stack([x[n] for x in found]) for n in names}


def _pursuits(config, arm, test_NYXC):
  found = [
    latent_uses.pursuits(
      snapshots[-1],
      test_NYXC,
      _noise(config, config.latents[-1]),
      config.sparsities,
      jax.random.key(config.seed),
      _limits(config),
    )
    for snapshots in arm.coders
  ]
  names = [n for n in found[0] if all(n in x for x in found)]
  return {n: np.stack([x[n] for x in found]) for n in names}


def _plane(config, arm, train_NYXC):
  return latent_maps.plane(
    arm.coders[0][-1],
    train_NYXC[: config.num_starts],
    config.grid,
    jax.random.key(config.seed),
    _limits(config),
  )
