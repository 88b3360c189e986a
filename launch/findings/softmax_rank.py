"""What is said of softmax temperature and rank: claims, figures and tables."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from simplex.models import vision
from trainers import figures
from trainers.figures import Series
from trainers.intervals import interval
from trainers.reports import Claim, Figure, Report, Table

DETECTORS = (
  "MSP",
  "energy",
  "ViM",
  "NECO",
  "NECO x max logit",
  "KNN, few",
  "KNN, all",
  "Mahalanobis",
)
OTHERS = ("held-out classes", "inverted images", "uniform noise")
NAMES = {
  "norm_layers": "norm in layers",
  "norm_head": "norm before head",
  "mlp": "MLP",
  "conv": "conv net",
  "resnet": "ResNet",
  "vit": "ViT",
}
GAMMA = 1  # index of the threshold 1e-3
NEAR = 15.0  # per cent from the curve that still count as on it
ABOUT = "not obtained: no number of the paper is known to us"


class Arm(NamedTuple):
  """What was seen of networks that differ in one knob.

  Attributes:
    knob: which.
    network: sizes.
    settings: (temperature, scale of the kernels) of each setting.
    seen: name to `[settings, seeds, 2, ...]`, before and after training.
  """

  knob: str
  network: vision.Config
  settings: Sequence[tuple[float, float]]
  seen: Mapping[str, np.ndarray]

  def end(self, name: str) -> np.ndarray:
    """`[settings, seeds, ...]` after training."""
    return self.seen[name][:, :, -1]

  @property
  def norms(self) -> np.ndarray:
    """|z| / T before training, `[settings, seeds]`."""
    return self.seen["norm"][:, :, 0]

  @property
  def temperatures(self) -> np.ndarray:
    return np.asarray([t for t, _ in self.settings])


class Softmax(NamedTuple):
  """Ranks of softmax(s Z), for s in `scales`.

  Attributes:
    scales: [S].
    right: share of labels that the rank-2 construction gives.
    rank: of its logits.
    ranks: of their softmax, [S].
    gaussian: rank of Gaussian logits to `[seeds, S]`.
  """

  scales: np.ndarray
  right: float
  rank: float
  ranks: np.ndarray
  gaussian: Mapping[int, np.ndarray]


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    classes: of the clusters.
    thresholds: of the numerical ranks.
    arms: on clusters; the first two are the temperature and the initial scale.
    images: on images; the first is the MLP.
    image_classes: that are learnt.
    equivalence: optimiser to the difference of a run and its rescaled twin.
    softmax: ranks of softmax alone.
  """

  classes: int
  thresholds: Sequence[float]
  arms: Sequence[Arm]
  images: Sequence[Arm]
  image_classes: int
  equivalence: Mapping[str, float]
  softmax: Softmax


def split(arm: Arm, at: int, knob: str) -> tuple[Arm, Arm]:
  """The settings before `at`, and those from there under another name."""
  parts = (slice(None, at), slice(at, None))
  first, second = (
    arm._replace(
      settings=arm.settings[part],
      seen={name: x[part] for name, x in arm.seen.items()},
    )
    for part in parts
  )
  return first, second._replace(knob=knob)


def report(found: Found) -> Report:
  """The claims beside what was found."""
  return Report(
    title="Softmax temperature and the rank of representations",
    summary=(
      "Networks are trained with softmax(z / T) to about full accuracy. Rank "
      "is the number of singular values of the covariance of logits, or of "
      "features, above 1e-3 of the largest. |z| / T is the mean norm of the "
      "logits before training, over the temperature. Intervals are 95 %, over "
      "seeds."
    ),
    claims=[
      *_exact_claims(found.equivalence, found.softmax),
      *_rank_claims(found),
      *_curve_claims(found.arms),
      *_image_claims(found),
      *_ood_claims(found.images[0]),
    ],
    figures=[
      _curve_figure(found.arms, "Rank of the logits", "logits"),
      _curve_figure(found.arms, "Rank of the last features", "layers"),
      _softmax_figure(found.softmax),
      _layers_figure(found.arms[0]),
      _alignment_figure(found.arms[0]),
      _threshold_figure(found.arms[0], found.thresholds),
      _architecture_figure(found.images),
      _ood_figure(found.images[0]),
      _probe_figure(found.images[0]),
    ],
    tables=[
      _arms_table("Clusters", found.arms),
      _arms_table("Images", found.images),
      _collapse_table(found.images),
      _ood_table(found.images[0]),
    ],
    notes=_notes(),
  )


def _rank(arm: Arm, of: str) -> np.ndarray:
  """Of the logits, or of the last layer: `[settings, seeds]`."""
  ranks = arm.end(of)[..., GAMMA]
  return ranks[:, :, -1] if of == "layers" else ranks


def _claim(text: str, values, holds, **kwargs) -> Claim:
  """Holds by the ends of the interval, or, for one seed, by the value."""
  ours = interval(values)
  low, high = (ours.mean,) * 2 if np.isnan(ours.low) else ours[1:]
  return Claim(
    text,
    ours=ours.mean,
    interval=None if np.isnan(ours.low) else (ours.low, ours.high),
    holds=bool(holds(low, high)),
    **kwargs,
  )


def _exact_claims(equivalence, softmax: Softmax) -> list[Claim]:
  claims = [
    Claim(
      f"Temperature is initial scale, {name}: largest difference of z / T = "
      "50 and of the rescaled run, relative, float64",
      paper="0, by algebra",
      ours=difference,
      holds=difference < 1e-10,
    )
    for name, difference in equivalence.items()
  ]
  claims.append(
    Claim(
      "Logits of rank 2 give 100 classes any labels: accuracy",
      paper="Proposition 3.2",
      ours=100 * softmax.right,
      unit="%",
      holds=softmax.right == 1.0 and softmax.rank == 2.0,
    )
  )
  for rank, ranks in softmax.gaussian.items():
    peak = ranks.max(1)
    claims.append(
      _claim(
        f"The rank of softmax(s Z) has a peak in s, Z of rank {rank}: peak "
        "less the larger end",
        peak - np.maximum(ranks[:, 0], ranks[:, -1]),
        lambda low, high: low > 0,
        paper="unimodal",
        size=f"2,000 x 50, threshold 1e-2, peak {peak.mean():.1f}",
      )
    )
  return claims


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Rank correlation over settings, one for each seed."""
  pairs = zip(x.T, y.T, strict=True)
  values = [stats.spearmanr(a, b).statistic for a, b in pairs]
  # One that never changes has no order: it follows nothing.
  return np.nan_to_num(values)


def _size(arm: Arm) -> str:
  name = NAMES.get(arm.network.kind, arm.network.kind)
  return f"{name}, depth {arm.network.depth}, width {arm.network.width}"


def _rank_claims(found: Found) -> list[Claim]:
  arm, size = found.arms[0], _size(found.arms[0])
  last = f"T = {arm.temperatures[-1]:g}"
  common = {"size": size, "paper": "says so; " + ABOUT}
  log_t = np.repeat(
    np.log(arm.temperatures)[:, None], arm.norms.shape[1], axis=1
  )
  claims = [
    _claim(
      f"{found.classes} clusters are learnt at {last}: accuracy on training "
      "data",
      100 * arm.end("train")[-1],
      lambda low, high: high >= 99,
      unit="%",
      **common,
    ),
    _claim(
      f"Rank deficit at {last}: the logits' rank is below "
      f"{found.classes - 1}, classes less one",
      _rank(arm, "logits")[-1],
      lambda low, high: high < found.classes - 1,
      **common,
    ),
  ]
  for i, threshold in enumerate(found.thresholds):
    claims.append(
      _claim(
        f"The logits' rank falls with temperature, threshold {threshold:g}: "
        "Spearman",
        _spearman(log_t, arm.end("logits")[..., i]),
        lambda low, high: high < -0.9,
        **common,
      )
    )
  return claims


def off_curve(curve: Arm, arm: Arm, of: str) -> np.ndarray:
  """Mean distance from the temperature's curve, in per cent, by seed.

  The curve joins the means of its settings over log |z| / T.
  """
  x = np.log(curve.norms.mean(1))
  order = np.argsort(x)
  y = _rank(curve, of).mean(1)
  expected = np.interp(np.log(arm.norms), x[order], y[order])
  return 100 * np.abs(_rank(arm, of) / expected - 1).mean(0)


def _curve_claims(arms: Sequence[Arm]) -> list[Claim]:
  curve, scale, *others = arms
  both = [
    np.concatenate([curve.norms, scale.norms]),
    np.concatenate([_rank(curve, "logits"), _rank(scale, "logits")]),
  ]
  claims = [
    _claim(
      "Rank follows the initial |z| / T, whether temperature or initial scale "
      "sets it: Spearman of at least 0.95",
      _spearman(*both),
      lambda low, high: low >= 0.95,
      size=_size(curve),
      paper="says so; " + ABOUT,
    )
  ]
  for arm in (scale, *others):
    claims += [
      _claim(
        f"{NAMES.get(arm.knob, arm.knob).capitalize()} keeps to the "
        f"temperature's curve within {NEAR:.0f} %: {name}, mean distance",
        off_curve(curve, arm, of),
        lambda low, high: high <= NEAR,
        unit="%",
        size=_size(arm),
        paper="not in the paper",
      )
      for of, name in (("logits", "logits"), ("layers", "last features"))
    ]
  return claims


def _image_claims(found: Found) -> list[Claim]:
  claims = []
  for arm in found.images:
    first, last = arm.temperatures[[0, -1]]
    ranks = _rank(arm, "layers")
    claims.append(
      _claim(
        f"Images, {NAMES[arm.knob]}: the last features' rank is lower at T = "
        f"{last:g} than at T = {first:g}: ratio",
        ranks[-1] / ranks[0],
        lambda low, high: high < 1,
        size=_size(arm),
        paper="says so; " + ABOUT,
      )
    )
  arm, most = found.images[0], found.image_classes - 1
  claims.append(
    _claim(
      f"Images, MLP: the logits' rank is below {most} at T = "
      f"{arm.temperatures[-1]:g}",
      _rank(arm, "logits")[-1],
      lambda low, high: high < most,
      size=_size(arm),
      paper="says so; " + ABOUT,
    )
  )
  return claims


def _ood_claims(arm: Arm) -> list[Claim]:
  temperatures = arm.temperatures
  at = lambda t: int(np.argmin(np.abs(np.log(temperatures / t))))
  name = lambda i: f"T = {temperatures[i]:g}"
  common = {"size": _size(arm), "paper": "says so; " + ABOUT}
  one, ten, last = at(1.0), at(10.0), len(temperatures) - 1
  probes = 100 * arm.end("probes")[..., -1]
  claims = [
    _claim(
      f"Classes held out are read off the last layer worse at {name(last)} "
      f"than at {name(one)}: difference",
      probes[one] - probes[last],
      lambda low, high: low > 0,
      unit="points",
      **common,
    )
  ]
  for detector in ("NECO", "MSP", "energy"):
    quality = 100 * arm.end("ood")[:, :, DETECTORS.index(detector), 0, 0]
    claims.append(
      _claim(
        f"Classes held out are detected better at {name(ten)} than at "
        f"{name(0)}, {detector}: difference of AUROC",
        quality[ten] - quality[0],
        lambda low, high: low > 0,
        unit="points",
        **common,
      )
    )
  quality = 100 * arm.end("ood")[one, :, :, 0, 0]
  few, all_ = (DETECTORS.index(f"KNN, {k}") for k in ("few", "all"))
  claims.append(
    _claim(
      f"KNN with few neighbours is better than with all of them, {name(one)}: "
      "difference of AUROC",
      quality[:, few] - quality[:, all_],
      lambda low, high: low > 0,
      unit="points",
      size=_size(arm),
      paper="not in the paper",
    )
  )
  return claims


def _curve_figure(arms: Sequence[Arm], title: str, of: str) -> Figure:
  series = {}
  for knob in dict.fromkeys(arm.knob for arm in arms):
    same = [arm for arm in arms if arm.knob == knob]
    x = np.concatenate([arm.norms.mean(1) for arm in same])
    y = np.concatenate([_rank(arm, of) for arm in same])
    order = np.argsort(x)
    ends = interval(y[order].T)
    series[NAMES.get(knob, knob)] = Series(x[order], *ends)
  return figures.lines(
    f"{title} against the initial |z| / T",
    series,
    xlabel="|z| / T before training",
    ylabel="rank after training",
    log_x=True,
    points=[name for name in series if name != "temperature"],
    caption="Clusters, MLPs. Mean and 95 % interval over seeds; the line is "
    "the temperature's, the dots are every other knob's.",
  )


def _softmax_figure(softmax: Softmax) -> Figure:
  series = {"rank-2 construction, 100 classes": (softmax.scales, softmax.ranks)}
  for rank, ranks in softmax.gaussian.items():
    name = f"Gaussian logits of rank {rank}"
    series[name] = Series(softmax.scales, *interval(ranks))
  return figures.lines(
    "Rank of softmax of logits times s",
    series,
    xlabel="s = 1 / T",
    ylabel="numerical rank",
    log_x=True,
    caption="Softmax makes more of few directions, and less again where it is "
    "nearly one-hot. Thresholds 1e-3 (construction) and 1e-2.",
  )


def _by_layer(arm: Arm, name: str) -> Mapping[str, Series]:
  values = arm.end(name)
  if name == "layers":
    values = values[..., GAMMA]
  layers = np.arange(1, values.shape[-1] + 1)
  return {
    f"T = {t:g}": Series(layers, *interval(x))
    for t, x in zip(arm.temperatures, values, strict=True)
  }


def _layers_figure(arm: Arm) -> Figure:
  return figures.lines(
    "Rank by layer",
    _by_layer(arm, "layers"),
    xlabel="layer",
    ylabel="rank after training",
    caption="Clusters, MLP: deep layers lose their rank first.",
  )


def _alignment_figure(arm: Arm) -> Figure:
  return figures.lines(
    "Alignment of activations and kernels",
    _by_layer(arm, "alignment"),
    xlabel="layer whose output the next kernel takes",
    ylabel="squared cosine of leading vectors",
    caption="Clusters, MLP, after training: 1 where the main direction of the "
    "activations is the one that the next kernel amplifies most.",
  )


def _threshold_figure(arm: Arm, thresholds: Sequence[float]) -> Figure:
  ranks = arm.end("logits")
  series = {
    f"threshold {threshold:g}": Series(
      arm.temperatures, *interval(ranks[..., i].T)
    )
    for i, threshold in enumerate(thresholds)
  }
  for name in ("effective", "stable"):
    series[f"{name} rank"] = Series(
      arm.temperatures, *interval(arm.end(name).T)
    )
  return figures.lines(
    "Sensitivity to the threshold",
    series,
    xlabel="temperature",
    ylabel="rank of the logits",
    log_x=True,
    caption="Clusters, MLP: covariance of the logits.",
  )


def _architecture_figure(arms: Sequence[Arm]) -> Figure:
  series = {}
  for arm in arms:
    order = np.argsort(arm.norms.mean(1))
    ends = interval(_rank(arm, "layers")[order].T)
    series[NAMES[arm.knob]] = Series(arm.norms.mean(1)[order], *ends)
  return figures.lines(
    "Architectures on images",
    series,
    xlabel="|z| / T before training",
    ylabel="rank of the last features",
    log_x=True,
    caption="One temperature for each point; the widths of the last features "
    "differ.",
  )


def _ood_figure(arm: Arm) -> Figure:
  quality = arm.end("ood")[:, :, :, 0, 0]
  return figures.lines(
    "Detection of held-out classes",
    {
      name: Series(arm.temperatures, *interval(quality[:, :, i].T))
      for i, name in enumerate(DETECTORS)
    },
    xlabel="temperature",
    ylabel="AUROC",
    log_x=True,
    caption="Images, MLP.",
  )


def _probe_figure(arm: Arm) -> Figure:
  return figures.lines(
    "Held-out classes read off each layer",
    _by_layer(arm, "probes"),
    xlabel="layer",
    ylabel="accuracy of a linear probe",
    caption="Images, MLP: probes are ridge regressions on classes that the "
    "network has not seen.",
  )


def _arms_table(title: str, arms: Sequence[Arm]) -> Table:
  rows = []
  for arm in arms:
    for i, (temperature, scale) in enumerate(arm.settings):
      rows.append(
        (
          NAMES.get(arm.knob, arm.knob),
          f"{arm.network.depth} x {arm.network.width}",
          temperature,
          scale,
          arm.norms[i].mean(),
          100 * arm.end("train")[i].min(),
          100 * arm.end("test")[i].mean(),
          _rank(arm, "logits")[i].mean(),
          arm.end("effective")[i].mean(),
          _rank(arm, "layers")[i].mean(),
        )
      )
  return Table(
    f"{title}: every setting",
    (
      "knob",
      "depth x width",
      "T",
      "kernels",
      "|z| / T",
      "train %, worst seed",
      "test %",
      "logits' rank",
      "effective",
      "last features' rank",
    ),
    rows,
    caption="Means over seeds; kernels are times this number at the start.",
  )


def _collapse_table(arms: Sequence[Arm]) -> Table:
  rows = [
    (NAMES[arm.knob], t, *seeds.mean(0))
    for arm in arms
    for t, seeds in zip(arm.temperatures, arm.end("collapse"), strict=True)
  ]
  return Table(
    "Neural collapse on images",
    ("network", "T", "NC1", "NC2, norms", "NC2, angles", "NC3", "NC4"),
    rows,
    caption="Training images, means over seeds; 0 is collapsed.",
  )


def _ood_table(arm: Arm) -> Table:
  means = arm.end("ood").mean(1)  # temperatures, detectors, others, measures
  rows = [
    (OTHERS[k], DETECTORS[j], t, *means[i, j, k])
    for k in range(len(OTHERS))
    for j in range(len(DETECTORS))
    for i, t in enumerate(arm.temperatures)
  ]
  return Table(
    "Out-of-distribution detection, MLP",
    ("other data", "detector", "T", "AUROC", "FPR95, ID +", "FPR95, OOD +"),
    rows,
    caption="Means over seeds. FPR95, ID positive: share of other data that "
    "is accepted with 95 % of test images; OOD positive: share of test images "
    "that is rejected with 95 % of other data.",
  )


def _notes() -> Sequence[str]:
  return [
    "Temperature is not a new knob: without biases and norms it is exactly "
    "the size of the initial kernels, with the learning rate rescaled. Where "
    "the rate is not rescaled, as in the figures, agreement is an empirical "
    "matter.",
    "Width and depth are compared at kernels whose deviation, or whose "
    "variance times fan-in, is fixed; with He's, neither moves |z|. A norm "
    "makes the function a homogeneous one of lower degree, and takes away the "
    "growth from layer to layer; its networks need not keep to the curve.",
    "Held-out classes are near the training data, and differences of AUROC "
    "below a point mean little. KNN with all training features asks only how "
    "spread the data are.",
  ]
