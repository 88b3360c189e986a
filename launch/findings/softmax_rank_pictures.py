"""Figures and tables of softmax temperature and rank."""

from collections.abc import Mapping, Sequence

import numpy as np

from launch.findings import softmax_rank_sweeps as seen
from trainers import figures
from trainers.figures import Series
from trainers.intervals import interval
from trainers.reports import Figure, Table


def curve_figure(arms: Sequence[seen.Arm], title: str, of: str) -> Figure:
  series = {}
  for knob in dict.fromkeys(arm.knob for arm in arms):
    same = [arm for arm in arms if arm.knob == knob]
    x = np.concatenate([arm.seen["norm"].mean(1) for arm in same])
    y = np.concatenate([seen.last_rank(arm, of) for arm in same])
    order = np.argsort(x)
    ends = interval(y[order].T)
    # A band would join dots that are of different networks.
    ends = ends if knob == "temperature" else ends[:1]
    series[seen.NAMES.get(knob, knob)] = Series(x[order], *ends)
  return figures.lines(
    f"{title} against the initial |z| / T",
    series,
    xlabel="|z| / T before training",
    ylabel="rank after training",
    log_x=True,
    points=[name for name in series if name != "temperature"],
    caption="Clusters, MLPs. The line, with its 95 % interval over seeds, is "
    "the temperature's; dots are means of every other knob's.",
  )


def softmax_figure(softmax: seen.Softmax) -> Figure:
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


def _by_layer(arm: seen.Arm, name: str) -> Mapping[str, Series]:
  values = arm.seen[name]
  if name == "layers":
    values = values[..., seen.GAMMA]
  layers = np.arange(1, values.shape[-1] + 1)
  return {
    f"T = {t:g}": Series(layers, *interval(x))
    for t, x in zip(arm.temperatures, values, strict=True)
  }


def layers_figure(arm: seen.Arm) -> Figure:
  return figures.lines(
    "Rank by layer",
    _by_layer(arm, "layers"),
    xlabel="layer",
    ylabel="rank after training",
    caption="Clusters, MLP: deep layers lose their rank first.",
  )


def alignment_figure(arm: seen.Arm) -> Figure:
  return figures.lines(
    "Alignment of activations and kernels",
    _by_layer(arm, "alignment"),
    xlabel="layer whose output the next kernel takes",
    ylabel="squared cosine of leading vectors",
    caption="Clusters, MLP, after training: 1 where the main direction of the "
    "activations is the one that the next kernel amplifies most.",
  )


def threshold_figure(arm: seen.Arm, thresholds: Sequence[float]) -> Figure:
  ranks = arm.seen["logits"]
  series = {
    f"threshold {threshold:g}": Series(
      arm.temperatures, *interval(ranks[..., i].T)
    )
    for i, threshold in enumerate(thresholds)
  }
  for name in ("effective", "stable"):
    series[f"{name} rank"] = Series(
      arm.temperatures, *interval(arm.seen[name].T)
    )
  return figures.lines(
    "Sensitivity to the threshold",
    series,
    xlabel="temperature",
    ylabel="rank of the logits",
    log_x=True,
    caption="Clusters, MLP: covariance of the logits.",
  )


def architecture_figure(arms: Sequence[seen.Arm]) -> Figure:
  series = {}
  for arm in arms:
    order = np.argsort(arm.seen["norm"].mean(1))
    ends = interval(seen.last_rank(arm, "layers")[order].T)
    series[seen.NAMES[arm.knob]] = Series(
      arm.seen["norm"].mean(1)[order], *ends
    )
  return figures.lines(
    "Architectures on images",
    series,
    xlabel="|z| / T before training",
    ylabel="rank of the last features",
    log_x=True,
    caption="One temperature for each point; the widths of the last features "
    "differ.",
  )


def ood_figure(arm: seen.Arm) -> Figure:
  quality = arm.seen["ood"][:, :, :, 0, 0]
  return figures.lines(
    "Detection of held-out classes",
    {
      name: Series(arm.temperatures, *interval(quality[:, :, i].T))
      for i, name in enumerate(seen.DETECTORS)
    },
    xlabel="temperature",
    ylabel="AUROC",
    log_x=True,
    caption="Images, MLP.",
  )


def probe_figure(arm: seen.Arm) -> Figure:
  return figures.lines(
    "Held-out classes read off each layer",
    _by_layer(arm, "probes"),
    xlabel="layer",
    ylabel="accuracy of a linear probe",
    caption="Images, MLP: probes are ridge regressions on classes that the "
    "network has not seen.",
  )


def arms_table(title: str, arms: Sequence[seen.Arm]) -> Table:
  rows = []
  for arm in arms:
    for i, (temperature, scale) in enumerate(arm.settings):
      rows.append(
        (
          seen.NAMES.get(arm.knob, arm.knob),
          f"{arm.network.depth} x {arm.network.width}",
          temperature,
          scale,
          arm.seen["norm"][i].mean(),
          100 * arm.seen["train"][i].min(),
          100 * arm.seen["test"][i].mean(),
          seen.last_rank(arm, "logits")[i].mean(),
          arm.seen["effective"][i].mean(),
          seen.last_rank(arm, "layers")[i].mean(),
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


def collapse_table(arms: Sequence[seen.Arm]) -> Table:
  rows = [
    (seen.NAMES[arm.knob], t, *seeds.mean(0))
    for arm in arms
    for t, seeds in zip(arm.temperatures, arm.seen["collapse"], strict=True)
  ]
  return Table(
    "Neural collapse on images",
    ("network", "T", "NC1", "NC2, norms", "NC2, angles", "NC3", "NC4"),
    rows,
    caption="Training images, means over seeds; 0 is collapsed.",
  )


def ood_table(arm: seen.Arm) -> Table:
  means = arm.seen["ood"].mean(1)  # temperatures, detectors, others, measures
  rows = [
    (seen.OTHERS[k], seen.DETECTORS[j], t, *means[i, j, k])
    for k in range(len(seen.OTHERS))
    for j in range(len(seen.DETECTORS))
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
