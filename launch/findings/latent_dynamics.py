"""What is said of latent dynamics: claims, figures and tables."""

from collections.abc import Sequence

import numpy as np

from launch.findings import latent_dynamics_pictures as pictures
from launch.findings.latent_dynamics_pictures import Found
from trainers import claims
from trainers.reports import Claim, Report

FEW_K, ALL_K = "KNN, K = 10", "KNN, K = all"
RIVALS = (FEW_K, ALL_K, "reconstruction", "|V(z)|", "Mahalanobis")
# Mean over SUN397, Places365, Texture and iNaturalist (Fig. 5, ViT-MAE).
PAPER = {
  ALL_K: "91.5 to 58.2 (ViT-MAE, K = 2000, the bank is not stated)",
  "reconstruction": "better (appendix)",
  "Mahalanobis": "better (appendix)",
}
DEFINED = 0.5  # share of starts that a rate by the norm must speak of


def report(found: Found) -> Report:
  """The claims beside what was found."""
  return Report(
    title="Latent dynamics: attractors of autoencoders",
    summary=(
      f"Autoencoders of {found.images} are iterated in their latent space. "
      f"{pictures.how(found)}; every attractor that is counted is certified: "
      "its residual is within tolerance, the spectral radius of its Jacobian "
      "below 1. Intervals are 95 %, over seeds."
    ),
    claims=all_claims(found),
    figures=[
      pictures.plane_figure(found.plane),
      *pictures.sweep_figures(found),
      *pictures.growth_figures(found),
      *pictures.detection_figures(found),
      pictures.pursuit_figure(found),
    ],
    tables=[
      pictures.summary_table(found),
      pictures.detection_table(found),
      pictures.plane_table(found),
    ],
    notes=_notes(),
  )


def all_claims(found: Found) -> list[Claim]:
  """What the paper says, and whether it holds."""
  return [
    *_bottleneck_claims(found),
    *_memory_claims(found),
    *_noise_claims(found),
    *_growth_claims(found),
    *_rate_claims(found),
    *_pursuit_claims(found),
    *_detection_claims(found),
  ]


above = lambda least: lambda x: x.low > least
below = lambda most: lambda x: x.high < most


def _rise(found: Found, field: str) -> np.ndarray:
  """From the narrowest bottleneck to the widest, of each seed, no noise."""
  latents = sorted({latent for latent, noise in found.arms if not noise})
  ends = [found.arms[latents[i], 0.0][1] for i in (0, -1)]
  return getattr(ends[1], field) - getattr(ends[0], field)


def _bottleneck_claims(found: Found) -> list[Claim]:
  latents = sorted({latent for latent, _ in found.arms})
  narrow, wide = latents[0], latents[-1]
  span = f"from k = {narrow} to k = {wide}"
  errors = [found.arms[k, 0.0][0][:, -1] for k in (narrow, wide)]
  paper = "Fig. 2: as k grows"
  return [
    claims.measured(
      f"A wider bottleneck memorises less, {span}: change of the cosine to "
      "the nearest training image",
      _rise(found, "nearest"),
      below(0),
      paper=f"{paper}, falls",
    ),
    claims.measured(
      f"A wider bottleneck generalises better, {span}: change of the error "
      "of a held-out image",
      errors[1] - errors[0],
      below(0),
      paper=f"{paper}, falls",
    ),
    claims.measured(
      f"Attractors span more, {span}: change of the singular values that "
      "hold 90 % of their variance",
      _rise(found, "entropy"),
      above(0),
      paper="Fig. 13: as k grows, rises",
    ),
    claims.measured(
      f"A wider bottleneck has more attractors, {span}: change of the count",
      _rise(found, "euclid"),
      above(0),
    ),
  ]


def _memory_claims(found: Found) -> list[Claim]:
  narrow = min(latent for latent, _ in found.arms)
  summary = found.arms[narrow, 0.0][1]
  few = [found.few[size][1].centred for size in sorted(found.few)]
  sizes = sorted(found.few)
  where = f"k = {narrow}"
  return [
    claims.measured(
      f"Memorisation at {where} by the paper's words, the nearest training "
      "image, is above 0.95",
      summary.nearest,
      above(0.95),
      paper="0.95 to 1 (quoted by a third party)",
    ),
    claims.measured(
      f"Memorisation at {where} by the paper's formula, the minimum over "
      "training images, is above 0.95",
      summary.farthest,
      above(0.95),
      paper="the formula, Sec. 4.1",
    ),
    claims.measured(
      f"Memorisation at {where} exceeds its null, that of held-out images",
      summary.nearest - summary.null,
      above(0),
    ),
    claims.measured(
      f"{sizes[0]} training images are remembered better than {sizes[-1]}: "
      "difference of the excess over the null, images centred",
      few[0] - few[-1],
      above(0),
      paper="Fig. 14: fewer images, more memorisation",
    ),
  ]


def _noise_claims(found: Found) -> list[Claim]:
  wide = max(latent for latent, _ in found.arms)
  plain, noisy = (found.arms[wide, n][1] for n in (0.0, found.noise))
  size = f"k = {wide}, noise {found.noise:g}"
  return [
    claims.measured(
      f"Training with noise contracts: change of the median {name}",
      getattr(noisy, field) - getattr(plain, field),
      below(0),
      size=size,
      paper="augmentation contracts (Sec. 3)",
    )
    for field, name in (("radius", "spectral radius"), ("norm", "|J|"))
  ] + [
    claims.measured(
      "Training with noise leaves fewer attractors: change of the count",
      noisy.euclid - plain.euclid,
      below(0),
      size=size,
    )
  ]


def _growth_claims(found: Found) -> list[Claim]:
  _, grown = found.grown
  return [
    claims.measured(
      "An untrained autoencoder contracts: standard deviation of f(z) over "
      "that of z",
      grown.ratio[:, 0],
      below(1),
      paper="below 1 (Fig. 6)",
    ),
    claims.measured(
      "An untrained autoencoder has exactly one attractor",
      grown.count[:, 0],
      lambda x: x.low == x.high == 1,
      paper="1 (Fig. 3)",
    ),
    claims.measured(
      "The number of attractors grows through training: last less first",
      grown.count[:, -1] - grown.count[:, 0],
      above(0),
      paper="grows, then is level (Fig. 3)",
    ),
    claims.measured(
      "Attractors of noise part from those of data: change of their Chamfer "
      "distance by cosine, first to last snapshot",
      grown.chamfer[:, -1] - grown.chamfer[:, 0],
      above(0),
      paper="grows (Fig. 3d)",
    ),
  ]


def _rate_claims(found: Found) -> list[Claim]:
  rates = found.rates
  defined = rates.below.min() >= DEFINED
  text = "Steps to an attractor are predicted by {} there: correlation"
  paper = "about 0.99 (Fig. 11, as quoted by a third party)"
  return [
    claims.measured(
      text.format("the spectral radius"), rates.radius, above(0.5), paper=paper
    ),
    claims.measured(
      text.format("the spectral norm, the paper's formula,"),
      rates.norm,
      lambda x: x.low > 0.5 and defined,
      paper=paper,
      size=f"defined for {100 * rates.below.mean():.0f} % of starts",
    ),
    claims.measured(
      "The radius predicts better than the norm: difference of correlations",
      rates.radius - rates.norm,
      above(0),
      paper="the norm is the rate (Prop. A.10)",
    ),
  ]


def _pursuit_claims(found: Found) -> list[Claim]:
  ours = found.pursuits.get("attractors")
  if ours is None:
    return []
  return [
    claims.measured(
      f"{m} attractors of noise explain codes better than {m} atoms of the "
      f"dictionary '{name}': log of the ratio of errors",
      np.log(ours[:, i] / found.pursuits[name][:, i]),
      below(0),
      paper="lower everywhere (Fig. 4)" if name == "orthonormal" else None,
    )
    for name in ("orthonormal", "random, as many")
    for i, m in enumerate(found.sparsities)
    if i in (0, len(found.sparsities) - 1)
  ]


def _detection_claims(found: Found) -> list[Claim]:
  judged = []
  for noise, (_, scores) in found.detection.items():
    ours = scores.get("trajectory")
    for rival in RIVALS if ours is not None else ():
      if rival in scores:
        lead = 100 * (ours - scores[rival])[..., 0].mean(1)
        judged.append(
          claims.measured(
            f"Trajectories tell what is out of distribution better than "
            f"{rival}, {pictures.arm_name(noise)}: lead in AUROC",
            lead,
            above(0),
            paper=PAPER.get(rival),
            unit="points",
          )
        )
  return judged


def _notes() -> Sequence[str]:
  return [
    "Which holds. Memorisation: only the maximum can be near 1; the formula's "
    "minimum is the cosine to the least similar image. The maximum says little "
    "without its null: held-out digits have it too. Rate: the norm can be "
    "above 1 at an attractor, where the paper's formula is undefined; the "
    "spectral radius is the asymptotic rate, which need not be that of the way "
    "from a far start. KNN with K = all is the mean "
    "distance to the whole bank; that the paper's bank had 2000 codes, as many "
    "as its K, is plausible and not stated.",
    "Proposition 3.2 is not true as stated: |a + b|^2 <= |a|^2 + |b|^2 needs "
    "that a and b do not point the same way. The triangle inequality without "
    "squares holds. A contraction of a convex set has one fixed point, so "
    "Theorem 1 is local where there are several attractors.",
    "Sets out of distribution are corruptions, which reconstruction tells "
    "nearly perfectly; they say little of natural images.",
  ]
