"""What is said of attention at infinite width: claims, figures and tables."""

import numpy as np
from scipy import special

from launch.findings import infinite_width_attention_pictures as pictures
from launch.findings.infinite_width_attention_pictures import Found, Layer
from launch.studies.random_layers import Outputs
from simplex.analysis import attention_moments, distances
from trainers import claims
from trainers.intervals import interval
from trainers.reports import Claim, Report

# What fills the weights of real layers: whether they are normal.
WEIGHTS = {"normal weights": True, "Flax's own weights": False}
ABOVE_FLOOR = 3.0  # times the floor, from where a distance enters the slope
SLOPE = (-1.1, -0.9)
SIGNIFICANT = 0.01


def report(found: Found) -> Report:
  """The claims beside what was found."""
  return Report(
    title="The infinite-width limit of an attention layer",
    summary=(
      "Random attention layers are drawn by their exact law at any width, and "
      "set beside the law at infinite width: Gaussian given scores that stay "
      f"random. {found.num_tokens} tokens of Sigma = I, unless said; intervals "
      "are 95 %, over seeds. The paper gives theorems and pictures; closed "
      "forms are derived from its theorem."
    ),
    claims=[
      *_score_claims(found),
      *_width_claims(found),
      *_head_claims(found),
      *_rectified_claims(found),
      *_layer_claims(found.layer),
    ],
    figures=[
      pictures.density_figure(found),
      pictures.distance_figure(found),
      pictures.kurtosis_figure(found),
    ],
    tables=[
      pictures.width_table(found),
      pictures.moment_table(found),
      pictures.kernel_table(found.layer),
    ],
    notes=_notes(found),
  )


def _around(value: float):
  return lambda ours: ours.low <= value <= ours.high


def _score_claims(found: Found) -> list[Claim]:
  width = max(found.widths)
  law = found.widths[width].law
  made = []
  for n, distance in found.widths.items():
    exact, _ = attention_moments.score_moments(n)
    made.append(
      claims.measured(
        f"Scores q k / sqrt(n) stay random: their variance at n = {n} is "
        f"(1 + 2/n)^2 = {exact:.4f}",
        distance.law.score_variance,
        _around(exact),
        paper="1 in the limit",
        size=f"{found.num_draws:,} layers a seed",
      )
    )
  made.append(
    claims.measured(
      "Scores q k / n, of the older limits, vanish: n times their variance",
      law.score_variance,
      _around(attention_moments.score_moments(width)[0]),
      paper="a point mass at 0",
      size=f"n = {width}",
    )
  )
  return made


def _width_claims(found: Found) -> list[Claim]:
  size = f"H = {found.num_heads}, {found.num_draws:,} layers a seed"
  made = []
  slopes, used = _slopes(found)
  if slopes is not None:
    made.append(
      claims.measured(
        "Outputs approach the limit about as 1/n: the slope of the "
        "Wasserstein-1 distance over the width is within 0.1 of -1",
        slopes,
        lambda x: SLOPE[0] <= x.low and x.high <= SLOPE[1],
        paper="converges; no rate is given",
        size=f"{size}, n = {', '.join(map(str, used))}",
      )
    )
  if {256, 1024} <= set(found.widths):
    gain = found.widths[256].divergence - found.widths[1024].divergence
    made.append(
      claims.measured(
        "The paper's measure, KL of smoothed densities, still falls from "
        "n = 256 to 1,024: by",
        gain,
        lambda x: x.low > 0,
        paper="falls with n",
        size=size,
      )
    )
  return made


def _slopes(found: Found):
  """Slope of each seed, and the widths that are far enough from the floor."""
  floor = found.floor.wasserstein.mean()
  used = [
    n
    for n, distance in found.widths.items()
    if distance.wasserstein.mean() > ABOVE_FLOOR * floor
  ]
  if len(used) < 2:
    return None, used
  y_WK = np.log([found.widths[n].wasserstein for n in used])
  return np.polyfit(np.log(used), y_WK, 1)[0], used


def _head_claims(found: Found) -> list[Claim]:
  made = []
  for heads, law in found.heads.items():
    exact = pictures.limit_moments(found, heads).kurtosis[0]
    made.append(
      claims.measured(
        f"The limit with few heads is not Gaussian: excess kurtosis at H = "
        f"{heads} is 3/H Var|A|^2 / E[|A|^2]^2 = {exact:.4f}",
        law.kurtosis,
        _around(exact),
        paper="not Gaussian",
        size=f"{found.num_draws:,} layers a seed",
      )
    )
  if found.heads:
    law = found.heads[min(found.heads)]
    made += [
      claims.measured(
        f"{name} in the limit is {exact:.4f}",
        values,
        _around(exact),
        paper=paper,
        size=f"{found.num_draws:,} layers a seed",
      )
      for name, exact, values, paper in (
        (
          "Variance of an output",
          pictures.limit_moments(found, 1).kernel[0, 0],
          law.variance,
          "s E[A_11^2]",
        ),
        (
          "Covariance of two tokens",
          pictures.limit_moments(found, 1).kernel[0, -1],
          law.covariance,
          "not stated",
        ),
      )
    ]
  if found.many_heads:
    most = max(found.many_heads)
    limit = pictures.limit_moments(found, most).kurtosis[0]
    made.append(
      claims.measured(
        f"Width and heads do not commute: at n = {found.many_heads_width}, "
        f"{most} heads keep an excess kurtosis above the limit's {limit:.4f}",
        found.many_heads[most].kurtosis,
        lambda x: x.low > limit,
        paper="not stated",
      )
    )
  return made


def _rectified_claims(found: Found) -> list[Claim]:
  if not found.rectified:
    return []
  exact = attention_moments.exchangeable(
    found.num_tokens, found.num_heads, variance=0.5, correlation=1 / np.pi
  )
  width = max(found.rectified)
  return [
    claims.measured(
      f"Rectified tokens: variance at n = {width} over the limit's "
      f"{exact.kernel[0, 0]:.4f} (within 2 %)",
      found.rectified[width].variance / exact.kernel[0, 0],
      lambda x: x.low >= 0.98 and x.high <= 1.02,
      paper="converges",
    )
  ]


def _layer_claims(layer: Layer) -> list[Claim]:
  made = []
  for name, outputs in layer.arms.items():
    kwargs = {"paper": "Theorem 3.1, in the limit", "size": layer.size}
    excess = _excess(outputs.first, layer)
    made += [
      claims.measured(
        f"A Flax layer with {name} has the exact law: Wasserstein-1 to it, "
        "less what two samples of the law show",
        excess,
        _around(0.0),
        **kwargs,
      ),
      _p_claim(
        f"A Flax layer with {name} has the exact law: p of Kolmogorov-Smirnov",
        outputs.first.ravel(),
        layer.law.first.ravel(),
        **kwargs,
      ),
      claims.measured(
        f"A Flax layer with {name}: kernel over the exact law's, mean of "
        "tokens",
        _ratios(outputs, layer),
        _around(1.0),
        **kwargs,
      ),
      claims.measured(
        f"A Flax layer with {name}: excess kurtosis of the last token, less "
        "the exact law's",
        _kurtosis(outputs, layer) - layer.law.moments.kurtosis[:, -1],
        _around(0.0),
        **kwargs,
      ),
      _given_claim(name, outputs, layer),
    ]
  return made


def _excess(first_KN, layer: Layer) -> np.ndarray:
  pairs = zip(first_KN, layer.law.first, layer.again.first, strict=True)
  gap = distances.wasserstein
  return np.array([gap(a, b) - gap(c, b) for a, b, c in pairs])


def _p_claim(text, x_N, y_M, **kwargs) -> Claim:
  gap = distances.kolmogorov_smirnov(x_N, y_M)
  p = float(distances.kolmogorov_p_value(gap, len(x_N), len(y_M)))
  return Claim(text, ours=p, holds=p > SIGNIFICANT, **kwargs)


def _ratios(outputs: Outputs, layer: Layer) -> np.ndarray:
  own_KT = np.diagonal(outputs.kernel, axis1=1, axis2=2)
  law_T = np.diag(layer.law.moments.kernel.mean(0))
  return (own_KT / law_T).mean(1)


def _kurtosis(outputs: Outputs, layer: Layer) -> np.ndarray:
  """From mean squares over E coordinates, which vary by 2 / E by themselves."""
  square_KN = outputs.square
  ratio_K = (square_KN**2).mean(1) / square_KN.mean(1) ** 2
  return 3 * (ratio_K / (1 + 2 / layer.width) - 1)


def _given_claim(name: str, outputs: Outputs, layer: Layer) -> Claim:
  """A normal over the root mean square of E - 1 others has Student's law."""
  ratio_N = outputs.ratio.ravel()
  cdf = lambda x: special.stdtr(layer.width - 1, np.asarray(x))
  gap = distances.kolmogorov_smirnov_to(ratio_N, cdf)
  p = float(distances.kolmogorov_p_value(gap, len(ratio_N)))
  return Claim(
    f"A Flax layer with {name}: a coordinate is Gaussian given its layer (p of "
    "Kolmogorov-Smirnov, over the size of the layer's other coordinates)",
    paper="Gaussian given the scores",
    ours=p,
    size=layer.size,
    holds=p > SIGNIFICANT,
  )


def _notes(found: Found) -> list[str]:
  given = interval(found.widths[min(found.widths)].law.kurtosis)
  return [
    "Coordinates of an output share the scores of their layer: they are "
    "independent only given these, so that averages over coordinates converge "
    "to a random number and not to a constant.",
    f"At n = {min(found.widths)} the excess kurtosis is {given.mean:.2f}, and "
    "most of it is the tokens': their lengths and products fluctuate too.",
    "An interval over a few seeds misses the truth one time in twenty, so that "
    "some of many true claims do not hold by it.",
  ]
