"""Sets of attractors, and which starts go where.

How many attractors a map has is a property of the starts, the tolerance, the
budget and the rule by which points are held equal: a count carries all four.
"""

from collections.abc import Callable, Sequence
import dataclasses
import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import distance

from simplex.analysis.dynamics import certificates, methods, solvers
from simplex.types import Array, Key

NOWHERE = -1  # the basin of a start that reached no attractor


@dataclasses.dataclass(frozen=True)
class Rule:
  """When two points count as one; chains of such pairs count as one too.

  Attributes:
    name: "euclid": |a - b| <= threshold * scale. "cosine": the cosine is above
      1 - threshold, whatever the lengths, as in the paper (0.99).
    threshold: relative distance, or 1 - cosine.
    scale: what "euclid" is relative to; None is the root mean square length of
      the starts.
  """

  name: Literal["euclid", "cosine"] = "euclid"
  threshold: float = 0.01
  scale: float | None = None

  def __post_init__(self):
    if self.name not in ("euclid", "cosine"):
      raise ValueError(f"name={self.name!r} is not one of ['euclid', 'cosine']")
    if not self.threshold >= 0:
      raise ValueError(f"threshold={self.threshold} must be at least 0")


class Attractors(NamedTuple):
  """Certified attractors, and the starts that lead to them.

  Attributes:
    points: a tree with a leading axis of K, in the order of their first start.
    sizes_K: starts in each basin.
    basin_N: the attractor that each start reached, or `NOWHERE`.
    converged_N: the starts that met the step test, whatever they reached.
    certificate: of the K points and, after them, of those that were refused.
    rule: by which points were merged.
    tolerance: of the residual.
    budget: most steps of a start.
  """

  points: Any
  sizes_K: np.ndarray
  basin_N: np.ndarray
  converged_N: np.ndarray
  certificate: certificates.Certificate
  rule: Rule
  tolerance: float
  budget: int

  @property
  def count(self) -> int:
    """K."""
    return len(self.sizes_K)

  @property
  def converged(self) -> float:
    """Share of the starts that met the step test."""
    return float(np.mean(self.converged_N))

  def __str__(self):
    return (
      f"{self.count} attractors from {len(self.basin_N)} starts, "
      f"{100 * self.converged:.1f} % of which converged (tolerance "
      f"{self.tolerance:g}, budget {self.budget}, {self.rule.name} "
      f"{self.rule.threshold:g})"
    )


def find(
  fn: Callable[[Any], Any],
  starts: Any,
  *,
  rule: Rule | None = None,
  method: methods.Method | None = None,
  tolerance: float = 1e-5,
  budget: int = 1000,
  margin: float = 1e-3,
) -> Attractors:
  """Solves from every start, merges what converged, certifies what is left.

  Args:
    fn: the map, of one point; see `solvers.solve`.
    starts: a tree with a leading axis of N.
    rule: None is `Rule()`.
    method: None is `methods.picard()`.
    tolerance: of the residual.
    budget: most steps of a start.
    margin: how far below 1 the spectral radius of an attractor must be.
  """
  solution = solvers.solve(
    fn, starts, method=method, tolerance=tolerance, budget=budget
  )
  return gather(
    fn,
    starts,
    solution,
    rule=rule,
    tolerance=tolerance,
    budget=budget,
    margin=margin,
  )


def gather(
  fn: Callable[[Any], Any],
  starts: Any,
  solution: solvers.Solution,
  *,
  tolerance: float,
  budget: int,
  rule: Rule | None = None,
  margin: float = 1e-3,
) -> Attractors:
  """What `find` does after solving, for a solution that is there."""
  rule = rule or Rule()
  converged_N = np.asarray(solution.status_N) == solvers.CONVERGED
  ends_ND = _vectors(solution.points)
  scale = rule.scale
  if scale is None:
    starts_ND = _vectors(starts)
    starts_ND = starts_ND[np.isfinite(starts_ND).all(1)]
    scale = float(np.sqrt(np.sum(starts_ND**2) / max(len(starts_ND), 1)))
  group_N = np.full(len(ends_ND), NOWHERE)
  group_N[converged_N] = merge(ends_ND[converged_N], rule, scale)
  # The representative is the member that is nearest to a fixed point.
  order = np.argsort(np.asarray(solution.residual_N), kind="stable")
  first = {g: i for i, g in zip(order[::-1], group_N[order[::-1]], strict=True)}
  first.pop(NOWHERE, None)
  ids = np.array([first[g] for g in sorted(first)], int)
  certificate = _certificate(fn, solution.points, ids, tolerance, margin)
  sound = certificate.kind_N == certificates.ATTRACTOR
  names = np.full(len(ids) + 1, NOWHERE)  # the last is for NOWHERE itself
  names[:-1][sound] = np.arange(sound.sum())
  basin_N = names[group_N]
  kept = np.concatenate([np.flatnonzero(sound), np.flatnonzero(~sound)])
  return Attractors(
    points=jax.tree.map(lambda x: x[ids[sound]], solution.points),
    sizes_K=np.bincount(basin_N[basin_N >= 0], minlength=sound.sum()),
    basin_N=basin_N,
    converged_N=converged_N,
    certificate=jax.tree.map(lambda x: x[kept], certificate),
    rule=dataclasses.replace(rule, scale=scale),
    tolerance=tolerance,
    budget=budget,
  )


def merge(points_ND: np.ndarray, rule: Rule, scale: float = 1.0) -> np.ndarray:
  """Group of each point, `[N]`, numbered in the order of first members.

  Chains count: the result does not depend on the order of the points.

  Args:
    points_ND: finite vectors.
    rule: when two points are one.
    scale: for a rule that has none.
  """
  points_ND = np.asarray(points_ND, np.float64)
  N = len(points_ND)
  if not N:
    return np.zeros(0, int)
  scale = scale if rule.scale is None else rule.scale
  if rule.name == "cosine":
    # Between unit vectors |a - b|^2 = 2 (1 - cosine).
    lengths_N1 = np.linalg.norm(points_ND, axis=1, keepdims=True)
    points_ND = points_ND / np.maximum(lengths_N1, np.finfo(float).tiny)
    radius = np.sqrt(2 * rule.threshold)
  else:
    radius = rule.threshold * scale
  near_NN = distance.cdist(points_ND, points_ND) <= radius
  _, group_N = csgraph.connected_components(sparse.csr_array(near_NN))
  _, first_G, group_N = np.unique(
    group_N, return_index=True, return_inverse=True
  )
  return np.argsort(np.argsort(first_G))[group_N]


def basins(
  fn: Callable[[Any], Any], starts: Any, found: Attractors
) -> np.ndarray:
  """The attractor in `found` that each start reaches, `[N]`, or `NOWHERE`.

  A start belongs to the nearest attractor if its end and that one are equal by
  the rule, with the tolerance and the budget of `found`.
  """
  solution = solvers.solve(
    fn, starts, tolerance=found.tolerance, budget=found.budget
  )
  converged_N = np.asarray(solution.status_N) == solvers.CONVERGED
  if not found.count:
    return np.full(len(converged_N), NOWHERE)
  ends_ND, points_KD = _vectors(solution.points), _vectors(found.points)
  ends_ND = np.where(converged_N[:, None], ends_ND, 0.0)
  cosine = found.rule.name == "cosine"
  d_NK = distance.cdist(ends_ND, points_KD, "cosine" if cosine else "euclidean")
  limit = found.rule.threshold * (1.0 if cosine else found.rule.scale)
  reached_N = converged_N & (d_NK.min(1) <= limit)
  return np.where(reached_N, d_NK.argmin(1), NOWHERE)


class Uncertainty(NamedTuple):
  """How the share of uncertain starts grows with a perturbation.

  Attributes:
    epsilons: lengths of the perturbations.
    fractions: share of the starts whose basin changes.
    exponent: slope of log fraction against log epsilon, over the fractions
      above 0; NaN where there are fewer than two. Smooth boundaries have 1,
      fractal ones less (Grebogi et al. 1983).
  """

  epsilons: np.ndarray
  fractions: np.ndarray
  exponent: float


def uncertainty(
  basin_fn: Callable[[Array], np.ndarray],
  starts_ND: Array,
  epsilons: Sequence[float],
  key: Key,
) -> Uncertainty:
  """The uncertainty exponent of the basins.

  Args:
    basin_fn: `starts_ND -> basin_N`, such as `basins` with its map.
    starts_ND: vectors.
    epsilons: lengths of the perturbations, each above 0; one direction is drawn
      for every start and used for all of them.
    key: draws the directions.

  Raises:
    ValueError: an epsilon is not above 0.
  """
  if not len(epsilons) or min(epsilons) <= 0:
    raise ValueError(f"epsilons={tuple(epsilons)} must be above 0")
  d_ND = jax.random.normal(key, starts_ND.shape)
  d_ND /= jnp.linalg.norm(d_ND, axis=1, keepdims=True)
  base_N = np.asarray(basin_fn(starts_ND))
  fractions = np.array(
    [
      np.mean(np.asarray(basin_fn(starts_ND + e * d_ND)) != base_N)
      for e in epsilons
    ]
  )
  seen = fractions > 0
  exponent = float("nan")
  if seen.sum() > 1:
    logs = np.log(np.asarray(epsilons)[seen]), np.log(fractions[seen])
    exponent = float(np.polyfit(*logs, 1)[0])
  return Uncertainty(np.asarray(epsilons), fractions, exponent)


def padded_size(count: int) -> int:
  """The least of 32, 128, 512, ... that holds `count`.

  Of all the counts there may be, few are compiled.
  """
  return next(n for i in itertools.count() if (n := 32 * 4**i) >= count)


def _certificate(fn, points, ids, tolerance, margin):
  if not len(ids):
    return certificates.Certificate(
      *(np.zeros(0) for _ in range(6)), np.zeros(0, int)
    )
  size = padded_size(len(ids))
  padded = np.resize(ids, size)
  chosen = jax.tree.map(lambda x: x[padded], points)
  found = certificates.certify(fn, chosen, tolerance=tolerance, margin=margin)
  return jax.tree.map(lambda x: x[: len(ids)], found)


def _vectors(points: Any) -> np.ndarray:
  """A tree of points as rows, [N, D], float64."""
  leaves = [np.asarray(x, np.float64) for x in jax.tree.leaves(points)]
  return np.concatenate([x.reshape(len(x), -1) for x in leaves], axis=1)
