"""What attractors remember, and what trajectories tell of their starts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.analysis.dynamics.solvers import Fold
from simplex.types import Array


class Memorisation(NamedTuple):
  """Cosine of each point to the nearest and to the farthest example, `[N]`.

  The paper's formula takes the minimum over examples and its words the nearest
  one, which is the maximum: `nearest`. Only that can be near 1.
  """

  nearest: Array
  farthest: Array


def memorisation(
  points_ND: Array, train_MD: Array, centre_D: Array | None = None
) -> Memorisation:
  """Cosines between points and training examples (section 4.1).

  It means something beside its null alone: the same of held-out examples, which
  is 0.963 for 8 x 8 digits, so that 0.97 is no sign of memory.

  Args:
    points_ND: decoded attractors, or held-out examples for the null.
    train_MD: the training examples.
    centre_D: taken from both first, such as the mean of the training examples;
      None is 0, as in the paper.
  """
  centre_D = 0.0 if centre_D is None else centre_D
  cosines_NM = _cosines(points_ND - centre_D, train_MD - centre_D)
  return Memorisation(cosines_NM.max(1), cosines_NM.min(1))


def generalisation_entropy(points_ND: Array, share: float = 0.9) -> Array:
  """Singular values that hold a share of the variance (appendix B.5).

  Args:
    points_ND: decoded attractors; variance is about 0, as in the paper.
    share: in (0, 1].

  Returns:
    An integer from 0, for zeros alone, to min(N, D).
  """
  variance_R = jnp.linalg.svd(points_ND, compute_uv=False) ** 2
  below_R = jnp.cumsum(variance_R) < share * variance_R.sum()
  # Summation may leave the last total a rounding below the share of 1.
  count = jnp.minimum(below_R.sum() + 1, len(variance_R))
  return jnp.where(variance_R.sum() > 0, count, 0)


def trajectory_score(attractors_KD: Array, num_starts: int) -> Fold:
  """A fold whose carry is the mean distance of a path to the nearest attractor.

  score = 1/n sum over the path z_0 ... z_n of min_k |z_i - z*_k| (section 4.3):
  give it to `solvers.solve`, and read `folded`; large is unlike training data.

  Args:
    attractors_KD: attractors reached from training data, K at least 1.
    num_starts: N of the solve.

  Raises:
    ValueError: there is no attractor.
  """
  K, _ = attractors_KD.shape
  if not K:
    raise ValueError("a trajectory score needs at least one attractor; K=0")

  fn = jax.tree_util.Partial(_mean_distance, attractors_KD)
  return Fold(fn, jnp.zeros(num_starts, attractors_KD.dtype))


def _mean_distance(attractors_KD, mean, z_D, step):
  distance = jnp.linalg.norm(attractors_KD - z_D, axis=1).min()
  return mean + (distance - mean) / (step + 1)


def _cosines(a_ND: Array, b_MD: Array) -> Array:
  unit = lambda x: (
    x
    / jnp.maximum(
      jnp.linalg.norm(x, axis=1, keepdims=True), jnp.finfo(x.dtype).tiny
    )
  )
  return jnp.einsum(
    "ND,MD->NM", unit(a_ND), unit(b_MD), precision=jax.lax.Precision.HIGHEST
  )
