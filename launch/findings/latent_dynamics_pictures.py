"""What was measured of latent dynamics, and its figures and tables."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from launch.studies import latent_maps
from trainers import figures, vector_fields
from trainers.figures import Series
from trainers.intervals import interval
from trainers.reports import Figure, Table


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    images: the data.
    steps: of training, at which snapshots were taken, `[evals]`.
    noise: of the denoising arm.
    starts: images or noises from which attractors are sought.
    limits: by which attractors are counted.
    arms: (latent, noise) to errors `[seeds, evals]` and `latent_maps.Summary`
      of arrays `[seeds]`.
    few: training images to the same.
    grown: errors and `latent_maps.Grown`, all `[seeds, evals]`.
    rates: `latent_maps.Rate` of arrays `[seeds]`.
    detection: noise to the names of the sets, and score to
      `[seeds, sets, (AUROC, FPR95 ID-positive, FPR95 OOD-positive)]`.
    sparsities: numbers of atoms.
    pursuits: dictionary to errors `[seeds, sparsities]`.
    plane: the map of two dimensions, of the first seed.
  """

  images: str
  steps: np.ndarray
  noise: float
  starts: int
  limits: latent_maps.Limits
  arms: Mapping[tuple[int, float], tuple[np.ndarray, latent_maps.Summary]]
  few: Mapping[int, tuple[np.ndarray, latent_maps.Summary]]
  grown: tuple[np.ndarray, latent_maps.Grown]
  rates: latent_maps.Rate
  detection: Mapping[float, tuple[Sequence[str], Mapping[str, np.ndarray]]]
  sparsities: Sequence[int]
  pursuits: Mapping[str, np.ndarray]
  plane: latent_maps.Plane


def how(found: Found) -> str:
  limits = found.limits
  return (
    f"Attractors are sought from {found.starts} starts with tolerance "
    f"{limits.tolerance:g} on |f(z) - z| and a budget of {limits.budget} "
    f"steps, and merged within {limits.threshold:g} of the starts' length "
    "(Euclid) or of 1 - cosine"
  )


def arm_name(noise: float) -> str:
  return f"trained with noise {noise:g}" if noise else "trained without noise"


def plane_figure(plane: latent_maps.Plane) -> Figure:
  return vector_fields.vector_field(
    "Basins of a latent space of two dimensions",
    plane.x,
    plane.y,
    plane.basin,
    plane.field,
    plane.attractors,
    dots_N2=plane.codes,
    dots_label="codes of training images",
    xlabel="z1",
    ylabel="z2",
    caption=f"Arrows point along f(z) - z; a colour for each basin, grey where "
    f"no attractor was reached. First seed: {plane.words}.",
  )


def _over_latents(found: Found, values) -> dict[str, Series]:
  """Series over bottlenecks for both arms; `values` of (errors, summary)."""
  series = {}
  for noise in (0.0, found.noise):
    latents = sorted(k for k, n in found.arms if n == noise)
    rows = [values(*found.arms[k, noise]) for k in latents]
    series[arm_name(noise)] = Series(latents, *interval(np.stack(rows, 1)))
  return series


def sweep_figures(found: Found) -> list[Figure]:
  null = next(iter(found.arms.values()))[1].null.mean()
  panels = {
    "Memorisation by bottleneck": (
      lambda errors, s: s.nearest,
      "cosine to the nearest training image",
      {"null: held-out images": null},
    ),
    "Held-out error by bottleneck": (
      lambda errors, s: errors[:, -1],
      "squared error of an image",
      {},
    ),
    "Attractors by bottleneck": (
      lambda errors, s: s.euclid,
      "certified attractors (Euclid)",
      {},
    ),
    "Contraction by bottleneck": (
      lambda errors, s: s.radius,
      "spectral radius, median over attractors",
      {},
    ),
  }
  return [
    figures.lines(
      title,
      _over_latents(found, values),
      xlabel="width of the bottleneck",
      ylabel=label,
      references=references,
      caption=f"{how(found)}. Mean and 95 % interval over seeds.",
    )
    for title, (values, label, references) in panels.items()
  ]


def growth_figures(found: Found) -> list[Figure]:
  _, grown = found.grown
  counts = {"from data": grown.count, "from noise": grown.noise_count}
  return [
    figures.lines(
      "Attractors through training",
      {n: Series(found.steps, *interval(y)) for n, y in counts.items()},
      xlabel="steps",
      ylabel="certified attractors (Euclid)",
      caption="Starts are codes of training images, or N(0, I).",
    )
  ]


def detection_figures(found: Found) -> list[Figure]:
  pictures = []
  for noise, (sets, scores) in found.detection.items():
    ends = {n: interval(100 * x[..., 0]) for n, x in scores.items()}
    pictures.append(
      figures.bars(
        f"Out of distribution, {arm_name(noise)}",
        sets,
        {name: x.mean for name, x in ends.items()},
        errors={name: (x.low, x.high) for name, x in ends.items()},
        references={"chance": 50},
        value_label="AUROC, %",
        caption="Corrupted images against held-out ones. The paper compares "
        "with K = 2000 of 2000 codes, which is K = all.",
      )
    )
  return pictures


def pursuit_figure(found: Found) -> Figure:
  return figures.lines(
    "Codes as sums of few atoms",
    {
      name: Series(found.sparsities, *interval(errors))
      for name, errors in found.pursuits.items()
    },
    xlabel="atoms",
    ylabel="squared error of a pixel",
    caption="Orthogonal matching pursuit of held-out codes, decoded.",
  )


def summary_table(found: Found) -> Table:
  rows = []
  arms = {f"k = {k}, {arm_name(n)}": arm for (k, n), arm in found.arms.items()}
  arms |= {f"{size} training images": arm for size, arm in found.few.items()}
  for name, (errors, summary) in arms.items():
    rows.append((name, *(float(np.mean(x)) for x in (errors[:, -1], *summary))))
  return Table(
    "All measurements",
    (
      "arm",
      "held-out error",
      "converged",
      "median steps",
      "attractors, Euclid",
      "attractors, cosine",
      "refused",
      "largest radius",
      "memory, maximum",
      "memory, minimum",
      "null",
      "centred excess",
      "rank90",
      "median radius",
      "median |J|",
      "|J| < 1 at data",
    ),
    rows,
    caption=f"Means over seeds. {how(found)}. Refused: share of merged "
    "endpoints that are not certified; largest radius: among all of them.",
  )


def detection_table(found: Found) -> Table:
  rows = []
  for noise, (_, scores) in found.detection.items():
    for name, score in scores.items():
      means = 100 * score.mean((0, 1))
      rows.append((arm_name(noise), name, *map(float, means)))
  return Table(
    "Out of distribution, both conventions",
    ("arm", "score", "AUROC", "FPR95, ID-positive", "FPR95, OOD-positive"),
    rows,
    caption="Per cent, means over seeds and sets.",
  )


def plane_table(found: Found) -> Table:
  words = found.plane.uncertainty
  return Table(
    "Uncertainty of the basins in the plane",
    ("perturbation", "share of starts that change basin"),
    [
      (float(e), float(f))
      for e, f in zip(words.epsilons, words.fractions, strict=True)
    ],
    caption=f"First seed. Exponent {words.exponent:.2f}: 1 for smooth "
    "boundaries, less for fractal ones.",
  )
