"""What is measured of the latent map of one trained autoencoder."""

import functools
from typing import NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from simplex.analysis import distances
from simplex.analysis.dynamics import (
  attractors,
  certificates,
  memory,
  solvers,
)
from simplex.models import autoencoder
from simplex.types import Array, Key

EPSILON = 1e-2  # distance to an attractor at which steps are counted


class Coder(NamedTuple):
  """Halves of an autoencoder that was trained, of one image or code.

  Their arrays are arguments of what is compiled: another seed's are not
  compiled again.
  """

  encode: jax.tree_util.Partial
  decode: jax.tree_util.Partial
  latent: jax.tree_util.Partial


@functools.cache
def _halves(cfg: autoencoder.Config):
  """Encode, decode and latent map, as functions of flat parameters."""
  net = autoencoder.Autoencoder(cfg)
  image = jnp.zeros((1, *cfg.shape))
  shapes = jax.eval_shape(net.init, jax.random.key(0), image)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  _, unravel = ravel_pytree(zeros)

  def encode(flat_P, image_YXC):
    return net.apply(unravel(flat_P), image_YXC[None], method="encode")[0]

  def decode(flat_P, z_D):
    return net.apply(unravel(flat_P), z_D[None], method="decode")[0]

  def latent(flat_P, z_D):
    return encode(flat_P, decode(flat_P, z_D))

  return encode, decode, latent


def coder(cfg: autoencoder.Config, flat_P: Array) -> Coder:
  """The halves of a model with these parameters, flattened."""
  return Coder(*(jax.tree_util.Partial(f, flat_P) for f in _halves(cfg)))


@jax.jit
def batched(fn: jax.tree_util.Partial, x_N: Array) -> Array:
  """One of the halves, of many."""
  return jax.vmap(fn)(x_N)


class Limits(NamedTuple):
  """By which attractors are counted."""

  tolerance: float
  budget: int
  threshold: float  # of both rules


class Summary(NamedTuple):
  """Numbers of one model; see `findings` for their words."""

  converged: float  # share of starts
  steps: float  # median
  euclid: int  # certified attractors, merged by Euclid
  cosine: int  # merged by cosine
  refused: float  # share of merged endpoints that are not attractors
  largest: float  # spectral radius among merged endpoints
  nearest: float  # memorisation, by the maximum
  farthest: float  # by the minimum, the paper's formula
  null: float  # by the maximum, of held-out images
  centred: float  # excess over the null, means taken out
  entropy: float  # rank90 of the decoded attractors
  radius: float  # median over attractors
  norm: float  # |J|, median over attractors
  contracting: float  # share of held-out codes with |J| < 1


def attract(model: Coder, starts_ND: Array, limits: Limits):
  """Solution, attractors by Euclid, and number of attractors by cosine."""
  how = {"tolerance": limits.tolerance, "budget": limits.budget}
  solution = solvers.solve(model.latent, starts_ND, **how)
  rule = attractors.Rule("euclid", limits.threshold)
  found = attractors.gather(model.latent, starts_ND, solution, rule=rule, **how)
  rule = attractors.Rule("cosine", limits.threshold)
  merged = attractors.merge(np.asarray(found.points), rule)
  return solution, found, int(merged.max(initial=-1)) + 1


def summary(
  model: Coder,
  train_NYXC: Array,
  test_NYXC: Array,
  num_starts: int,
  limits: Limits,
) -> Summary:
  """Everything of section 4.1, from codes of training images."""
  starts_ND = batched(model.encode, train_NYXC[:num_starts])
  solution, found, cosine = attract(model, starts_ND, limits)
  certificate, K = found.certificate, found.count
  nearest, farthest, null, excess, entropy = _memorised(
    model, found, train_NYXC, test_NYXC
  )
  norms_N = certificates.jacobian_norms(
    model.latent, batched(model.encode, test_NYXC[:100]), iterations=30
  )
  middle = lambda x_N: float(np.median(x_N[:K])) if K else float("nan")
  return Summary(
    converged=found.converged,
    steps=float(np.median(solution.steps_N)),
    euclid=K,
    cosine=cosine,
    refused=1 - K / max(len(certificate.kind_N), 1),
    largest=float(np.max(certificate.radius_N, initial=0)),
    nearest=nearest,
    farthest=farthest,
    null=null,
    centred=excess,
    entropy=entropy,
    radius=middle(certificate.radius_N),
    norm=middle(certificate.norm_N),
    contracting=float(np.mean(norms_N < 1)),
  )


def padded(points_KD: Array) -> np.ndarray:
  """The points, followed by zeros, to one of few numbers of rows.

  Another number of rows is another program to compile.
  """
  K, D = points_KD.shape
  rows = attractors.padded_size(K)
  return np.concatenate([points_KD, np.zeros((rows - K, D), np.float32)])


def _memorised(model, found, train_NYXC, test_NYXC) -> tuple[float, ...]:
  """Nearest and farthest cosine, null, centred excess, and entropy."""
  if not found.count:
    return (float("nan"),) * 5
  numbers = _remembered(
    model.decode, padded(found.points), found.count, train_NYXC, test_NYXC
  )
  return tuple(map(float, numbers))


@jax.jit
def _remembered(decode, points_KD, count, train_NYXC, test_NYXC):
  rows = lambda x: x.reshape(len(x), -1)
  train_NF, test_NF = rows(train_NYXC), rows(test_NYXC)
  decoded_KF, centre_F = rows(jax.vmap(decode)(points_KD)), train_NF.mean(0)
  real_K = jnp.arange(len(points_KD)) < count
  mean = lambda x_K: jnp.mean(x_K, where=real_K)
  ours = memory.memorisation(decoded_KF, train_NF)
  null = memory.memorisation(test_NF, train_NF).nearest.mean()
  apart = memory.memorisation(decoded_KF, train_NF, centre_F)
  apart_null = memory.memorisation(test_NF, train_NF, centre_F).nearest.mean()
  entropy = memory.generalisation_entropy(
    jnp.where(real_K[:, None], decoded_KF, 0.0)
  )
  excess = mean(apart.nearest) - apart_null
  return mean(ours.nearest), mean(ours.farthest), null, excess, entropy


class Rate(NamedTuple):
  """Pearson's correlation of predicted with measured steps, by what predicts.

  T = log(epsilon / |e_0|) / log rho, with rho the spectral radius or, as in the
  paper's Proposition A.10, the norm; `below` is the share of starts whose
  attractor has a norm below 1, without which the paper's is not defined.
  """

  radius: float
  norm: float
  below: float


def rate(model: Coder, starts_ND: Array, limits: Limits) -> Rate:
  """Steps until a start is within `EPSILON` of its attractor, predicted."""
  _, found, _ = attract(model, starts_ND, limits)
  if not found.count:
    return Rate(*(float("nan"),) * 3)
  home_N = found.basin_N
  targets_ND = np.asarray(found.points)[home_N]
  count = jnp.zeros(len(home_N))
  solution = solvers.solve(
    model.latent,
    starts_ND,
    tolerance=limits.tolerance,
    budget=limits.budget,
    fold=solvers.Fold(_far, (jnp.asarray(targets_ND), count)),
  )
  measured_N = np.asarray(solution.folded[1])
  away_N = np.linalg.norm(np.asarray(starts_ND) - targets_ND, axis=1)
  K = found.count
  predict = lambda rho_N: np.log(EPSILON / away_N) / np.log(rho_N)
  radius_N = found.certificate.radius_N[:K][home_N]
  norm_N = found.certificate.norm_N[:K][home_N]
  far_N = (away_N > EPSILON) & (home_N != attractors.NOWHERE)
  below_N = far_N & (norm_N < 1)
  by_norm_N = predict(np.where(below_N, norm_N, 0.5))
  return Rate(
    _pearson(predict(radius_N)[far_N], measured_N[far_N]),
    _pearson(by_norm_N[below_N], measured_N[below_N]),
    float(below_N.sum() / max(far_N.sum(), 1)),
  )


def _far(carry, z_D, step):
  """Steps that begin farther from the target than `EPSILON`."""
  del step
  target_D, count = carry
  far = jnp.linalg.norm(z_D - target_D) > EPSILON
  return target_D, count + far


def _pearson(x_N, y_N) -> float:
  if len(x_N) < 3 or not np.std(x_N) or not np.std(y_N):
    return float("nan")
  return float(np.corrcoef(x_N, y_N)[0, 1])


class Grown(NamedTuple):
  """Of a snapshot of training: attractors, their images, and the map itself."""

  count: int  # from codes of training images
  noise_count: int  # from N(0, I)
  chamfer: float  # cosine distance of the two sets
  nearest: float  # memorisation
  ratio: float  # standard deviation of f(z) over that of z ~ N(0, I)


def grown(
  model: Coder,
  train_NYXC: Array,
  test_NYXC: Array,
  noise_ND: Array,
  limits: Limits,
) -> Grown:
  """What Fig. 3 follows through training."""
  starts_ND = batched(model.encode, train_NYXC[: len(noise_ND)])
  _, found, _ = attract(model, starts_ND, limits)
  _, other, _ = attract(model, noise_ND, limits)
  apart = float("nan")
  if found.count and other.count:
    apart = float(
      distances.chamfer(
        found.points, other.points, metric=distances.cosine
      ).mean
    )
  moved_ND = batched(model.latent, noise_ND)
  spread = lambda x_ND: float(np.std(np.asarray(x_ND), axis=0).mean())
  nearest, *_ = _memorised(model, found, train_NYXC, test_NYXC)
  ratio = spread(moved_ND) / spread(noise_ND)
  return Grown(found.count, other.count, apart, nearest, ratio)


class Plane(NamedTuple):
  """A map of two dimensions on a grid."""

  x: np.ndarray
  y: np.ndarray
  basin: np.ndarray
  field: np.ndarray
  attractors: np.ndarray
  codes: np.ndarray
  words: str  # the count with all it depends on
  uncertainty: attractors.Uncertainty


def plane(
  model: Coder, images: Array, size: int, key: Key, limits: Limits
) -> Plane:
  """Basins and field over a box half as large again as the codes' own."""
  codes_N2 = np.asarray(batched(model.encode, images))
  low, high = codes_N2.min(0), codes_N2.max(0)
  margin = (high - low) / 4
  x, y = np.linspace(low - margin, high + margin, size).T
  grid_N2 = jnp.asarray(np.stack(np.meshgrid(x, y), -1).reshape(-1, 2))
  _, found, _ = attract(model, grid_N2, limits)
  field_N2 = np.asarray(batched(model.latent, grid_N2) - grid_N2)
  epsilons = float(np.linalg.norm(high - low)) * 2.0 ** -np.arange(4, 9)
  uncertainty = attractors.uncertainty(
    lambda starts: attractors.basins(model.latent, starts, found),
    grid_N2,
    epsilons,
    key,
  )
  return Plane(
    x,
    y,
    found.basin_N.reshape(size, size),
    field_N2.reshape(size, size, 2),
    np.asarray(found.points),
    codes_N2,
    str(found),
    uncertainty,
  )
