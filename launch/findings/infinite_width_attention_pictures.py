"""Random attention layers in figures and tables, and what they are made of."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from launch.studies.random_layers import Law as LayerLaw, Outputs
from simplex.analysis import attention_moments
from trainers import figures
from trainers.figures import Series
from trainers.intervals import Interval, interval
from trainers.reports import Figure, Table

POINTS = np.linspace(0.0, 4.0, 81)  # where densities are taken


class Law(NamedTuple):
  """Moments of outputs and scores, `[K]`, one for each seed."""

  variance: np.ndarray
  covariance: np.ndarray  # of two tokens
  kurtosis: np.ndarray
  score_variance: np.ndarray


class Distances(NamedTuple):
  """How far outputs are from the limit's, `[K]`, one for each seed.

  Attributes:
    law: their moments.
    wasserstein: from the variances that outputs have given the scores.
    sampled: Wasserstein-1 from as many sampled outputs.
    divergence: the paper's measure.
    density: of outputs at `POINTS`, `[K, N]`.
  """

  law: Law
  wasserstein: np.ndarray
  sampled: np.ndarray
  divergence: np.ndarray
  density: np.ndarray


class Layer(NamedTuple):
  """Real layers, all arrays with a leading axis of K seeds.

  Attributes:
    size: in words.
    width: coordinates of an output.
    law: what the exact law says.
    again: independent draws of the same.
    arms: outputs of initialised layers, by a key of `WEIGHTS`.
  """

  size: str
  width: int
  law: LayerLaw
  again: LayerLaw
  arms: Mapping[str, Outputs]


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    num_tokens: s.
    num_heads: H, where heads are not swept.
    num_draws: of each seed and width.
    widths: width to distances.
    floor: distances of the limit from itself.
    heads: heads to the limit's moments.
    many_heads_width: n of the next.
    many_heads: heads to moments at that width.
    low_rank_width: D of the next.
    low_rank: heads to moments where the width is H D.
    rectified: width to moments where tokens are rectified.
    layer: real layers beside their law.
  """

  num_tokens: int
  num_heads: int
  num_draws: int
  widths: Mapping[int, Distances]
  floor: Distances
  heads: Mapping[int, Law]
  many_heads_width: int
  many_heads: Mapping[int, Law]
  low_rank_width: int
  low_rank: Mapping[int, Law]
  rectified: Mapping[int, Law]
  layer: Layer


def limit_moments(found: Found, heads: int) -> attention_moments.Moments:
  return attention_moments.exchangeable(found.num_tokens, heads)


def density_figure(found: Found) -> Figure:
  def curve(distance):
    mean, low, high = interval(distance.density)
    return Series(POINTS, mean, np.maximum(low, mean / 10), high)

  shown = [n for n in found.widths if n <= 256]
  variance = limit_moments(found, found.num_heads).kernel[0, 0]
  bell = np.exp(-(POINTS**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
  series = {f"n = {n}": curve(found.widths[n]) for n in shown}
  series["limit"] = curve(found.floor)
  series["infinitely many heads"] = Series(POINTS, bell)
  return figures.lines(
    "Density of an output",
    series,
    xlabel="output",
    ylabel="density",
    log_y=True,
    caption=f"H = {found.num_heads}; the density is even. Tails tell the laws "
    "apart: the Gaussian of infinitely many heads is not the limit at few.",
  )


def distance_figure(found: Found) -> Figure:
  widths = list(found.widths)
  kinds = {
    "Wasserstein-1": "wasserstein",
    "KL, the paper's": "divergence",
  }
  series, references = {}, {}
  for name, field in kinds.items():
    values_KW = np.stack(
      [getattr(found.widths[n], field) for n in widths], axis=1
    )
    series[name] = Series(widths, *interval(values_KW))
    floor = getattr(found.floor, field).mean()
    references[f"floor of {name.split(',')[0]}"] = floor
  return figures.lines(
    "Distance to the limit",
    series,
    xlabel="width n",
    ylabel="distance",
    log_x=True,
    log_y=True,
    references=references,
    caption=f"H = {found.num_heads}, 95 % over seeds. A floor is what two "
    "samples of the limit show.",
  )


def kurtosis_figure(found: Found) -> Figure:
  heads = sorted({*found.heads, *found.many_heads, 1})
  exact = limit_moments(found, 1).kurtosis[0]
  series = {"closed form": Series(heads, exact / np.array(heads))}
  rows = {
    "limit": found.heads,
    f"n = {found.many_heads_width}": found.many_heads,
    f"n = {found.low_rank_width} H, low rank": found.low_rank,
  }
  for name, laws in rows.items():
    if laws:
      values_KN = np.stack([law.kurtosis for law in laws.values()], axis=1)
      series[name] = Series(list(laws), *interval(values_KN))
  return figures.lines(
    "Excess kurtosis over heads",
    series,
    xlabel="heads H",
    ylabel="excess kurtosis of an output",
    log_x=True,
    log_y=True,
    points=["limit"],
    caption="A Gaussian has 0. At a fixed width more heads do not remove what "
    "they share: the tokens.",
  )


def _cells(x: Interval) -> tuple[float, float, float]:
  return x.mean, x.low, x.high


def width_table(found: Found) -> Table:
  rows = []
  laws = {f"{n:,}": d for n, d in found.widths.items()}
  for name, d in {**laws, "limit": found.floor}.items():
    shown = (d.wasserstein, d.sampled, d.divergence)
    cells = [cell for values in shown for cell in _cells(interval(values))]
    rows.append((name, *cells))
  names = ("W1", "W1 sampled", "KL")
  ends = [f"{name}{end}" for name in names for end in ("", " low", " high")]
  return Table(
    "Distances to the limit, and their floor",
    ("width", *ends),
    rows,
    caption="Mean and 95 % interval over seeds. W1 is from the variances given "
    "the scores; 'W1 sampled' from as many outputs; KL as in the paper. The "
    "last row is the floor.",
  )


def moment_table(found: Found) -> Table:
  H, D = found.num_heads, found.low_rank_width
  n = found.many_heads_width
  rows = [
    *((f"n = {w:,}, H = {H}", d.law) for w, d in found.widths.items()),
    *((f"limit, H = {h}", law) for h, law in found.heads.items()),
    *((f"n = {n}, H = {h}", law) for h, law in found.many_heads.items()),
    *((f"n = {D * h}, {h} heads of {D}", x) for h, x in found.low_rank.items()),
    *(
      (f"rectified, n = {w}, H = {H}", law)
      for w, law in found.rectified.items()
    ),
  ]
  cells = lambda law: [c for x in law[:3] for c in _cells(interval(x))]
  names = ("variance", "covariance", "kurtosis")
  ends = [f"{name}{end}" for name in names for end in ("", " low", " high")]
  return Table(
    "Moments of outputs",
    ("law", *ends, "score variance"),
    [(name, *cells(law), law.score_variance.mean()) for name, law in rows],
    caption="Mean and 95 % interval over seeds; the covariance is of two "
    "tokens, the kurtosis in excess of a Gaussian's.",
  )


def kernel_table(layer: Layer) -> Table:
  law = interval(layer.law.moments.kernel)
  rows = []
  T = law.mean.shape[0]
  for t in range(T):
    for u in range(t + 1):
      ours = [interval(x.kernel[:, t, u]) for x in layer.arms.values()]
      cells = [cell for x in ours for cell in _cells(x)]
      ends = (law.mean[t, u], law.low[t, u], law.high[t, u])
      rows.append((f"{t + 1}, {u + 1}", *ends, *cells))
  names = ("exact law", *layer.arms)
  columns = [f"{name}{end}" for name in names for end in ("", " low", " high")]
  return Table(
    "Covariance of tokens in a Flax layer",
    ("tokens", *columns),
    rows,
    caption=f"{layer.size}; scores over sqrt(d), which neural-tangents "
    "refuses. Mean and 95 % interval over seeds.",
  )
