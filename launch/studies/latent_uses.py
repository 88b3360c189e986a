"""What attractors are used for: out of distribution, and as a dictionary."""

from collections.abc import Sequence
import functools

import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import latent_maps
from simplex.analysis import ood
from simplex.analysis.dynamics import (
  attractors,
  dictionaries,
  memory,
  solvers,
)
from simplex.types import Array, Key


def corrupted(images_NYXC: Array, key: Key) -> dict[str, Array]:
  """Images that are not of the distribution, of the same shapes."""
  N, *shape = images_NYXC.shape
  noise_key, order_key = jax.random.split(key)
  pixels = images_NYXC.reshape(N, -1)
  order = jax.random.permutation(order_key, pixels.shape[1])
  return {
    "uniform noise": jax.random.uniform(noise_key, images_NYXC.shape),
    "inverted": 1 - images_NYXC,
    "pixels permuted": pixels[:, order].reshape(N, *shape),
    "turned by 90 degrees": jnp.rot90(images_NYXC, axes=(1, 2)),
  }


def detection(
  model: latent_maps.Coder,
  train_NYXC: Array,
  sets: dict[str, Array],
  num_starts: int,
  ks: Sequence[int],
  limits: latent_maps.Limits,
) -> dict[str, np.ndarray]:
  """AUROC and both FPR95 of every score, `[sets - 1, 3]`; the first set is ID.

  Args:
    model: halves of an autoencoder.
    train_NYXC: training images.
    sets: name to equally many images; the first is of the distribution.
    num_starts: training images from which attractors are sought.
    ks: neighbours of KNN; all of the training codes are added.
    limits: of the attractors.
  """
  bank_ND = latent_maps.batched(model.encode, train_NYXC)
  _, found, _ = latent_maps.attract(model, bank_ND[:num_starts], limits)
  images = jnp.concatenate(list(sets.values()))
  codes_ND = latent_maps.batched(model.encode, images)
  scores = {"reconstruction": -_errors(model, images)}
  moved_ND = latent_maps.batched(model.latent, codes_ND) - codes_ND
  scores["|V(z)|"] = -np.linalg.norm(np.asarray(moved_ND), axis=1)
  if found.count:
    # Repeated points leave the distance to the nearest as it is.
    size = attractors.padded_size(found.count)
    points_KD = jnp.asarray(np.resize(found.points, (size, codes_ND.shape[1])))
    scores["trajectory"] = -np.asarray(
      solvers.solve(
        model.latent,
        codes_ND,
        tolerance=limits.tolerance,
        budget=limits.budget,
        fold=memory.trajectory_score(points_KD, len(codes_ND)),
      ).folded
    )
  neighbours = {f"KNN, K = {k}": k for k in ks if k < len(bank_ND)}
  neighbours["KNN, K = all"] = len(bank_ND)
  for name, k in {"Mahalanobis": None, **neighbours}.items():
    scores[name] = np.asarray(_scorer(k)(bank_ND, codes_ND))
  return {name: _quality(score, len(sets)) for name, score in scores.items()}


@functools.cache
def _scorer(k: int | None):
  """Scores of codes from a bank, by k neighbours or else Mahalanobis."""
  detector = ood.mahalanobis() if k is None else ood.knn(k)

  @jax.jit
  def score(bank_ND, codes_ND):
    state = detector.fit(ood.Data(bank_ND))
    return detector.score(state, ood.Data(codes_ND))

  return score


def _errors(model: latent_maps.Coder, images: Array) -> np.ndarray:
  made = latent_maps.batched(
    model.decode, latent_maps.batched(model.encode, images)
  )
  return np.asarray(jnp.sum((made - images) ** 2, axis=(1, 2, 3)))


def _quality(score_N, num_sets: int) -> np.ndarray:
  first, *others = np.split(score_N, num_sets)
  return np.array([_measures(first, other) for other in others])


@jax.jit
def _measures(id_N, ood_N):
  measures = (ood.auroc, ood.fpr95_id_positive, ood.fpr95_ood_positive)
  return jnp.stack([measure(id_N, ood_N) for measure in measures])


def pursuits(
  model: latent_maps.Coder,
  test_NYXC: Array,
  noise_ND: Array,
  sparsities: Sequence[int],
  key: Key,
  limits: latent_maps.Limits,
) -> dict[str, np.ndarray]:
  """Error of a pixel when codes are sums of few atoms, by dictionary.

  Attractors are sought from noise alone. `[sparsities]`, NaN where a dictionary
  has fewer atoms.
  """
  _, found, _ = latent_maps.attract(model, noise_ND, limits)
  D, K = noise_ND.shape[1], found.count
  basis_key, random_key = jax.random.split(key)
  atoms = {"orthonormal": dictionaries.orthonormal(basis_key, D)}
  if K:
    atoms["attractors"] = found.points
    atoms["random, as many"] = dictionaries.random(random_key, K, D)
  codes_ND = latent_maps.batched(model.encode, test_NYXC)
  errors = {}
  for name, atoms_KD in atoms.items():
    few = [m for m in sparsities if m <= len(atoms_KD)]
    atoms_KD = latent_maps.padded(atoms_KD)  # an atom 0 is never chosen
    row = np.full(len(sparsities), np.nan)
    if few:
      made = _pursue(codes_ND, atoms_KD, tuple(few)).approximations
      for i in range(len(few)):
        images = latent_maps.batched(model.decode, made[:, i])
        row[i] = float(jnp.mean((images - test_NYXC) ** 2))
    errors[name] = row
  return errors


_pursue = jax.jit(dictionaries.pursue, static_argnums=2)
