"""What is said of softmax temperature and rank: the claims, in words."""

from collections.abc import Sequence

import numpy as np
from scipy import stats

from launch.findings import (
  softmax_rank_pictures as pictures,
  softmax_rank_sweeps as seen,
)
from trainers import claims
from trainers.reports import Claim, Report

NEAR = 15.0  # per cent from the curve that still count as on it
# Its tables were not obtained: no number of the paper is known to us.
SAYS = "says so"


def report(found: seen.Found) -> Report:
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
      pictures.curve_figure(found.arms, "Rank of the logits", "logits"),
      pictures.curve_figure(found.arms, "Rank of the last features", "layers"),
      pictures.softmax_figure(found.softmax),
      pictures.layers_figure(found.arms[0]),
      pictures.alignment_figure(found.arms[0]),
      pictures.threshold_figure(found.arms[0], found.thresholds),
      pictures.architecture_figure(found.images),
      pictures.ood_figure(found.images[0]),
      pictures.probe_figure(found.images[0]),
    ],
    tables=[
      pictures.arms_table("Clusters", found.arms),
      pictures.arms_table("Images", found.images),
      pictures.collapse_table(found.images),
      pictures.ood_table(found.images[0]),
    ],
    notes=_notes(),
  )


def _exact_claims(equivalence, softmax: seen.Softmax) -> list[Claim]:
  made = [
    Claim(
      f"Temperature is initial scale, {name}: largest difference of z / T = "
      "50 and of the rescaled run, relative, float64",
      paper="0, by algebra",
      ours=difference,
      holds=difference < 1e-10,
    )
    for name, difference in equivalence.items()
  ]
  made.append(
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
    made.append(
      claims.measured(
        f"The rank of softmax(s Z) has a peak in s, Z of rank {rank}: peak "
        "less the larger end",
        peak - np.maximum(ranks[:, 0], ranks[:, -1]),
        lambda x: x.low > 0,
        paper="unimodal",
        size=f"300 x 50, threshold 1e-2, peak {peak.mean():.1f}",
      )
    )
  return made


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Rank correlation over settings, one for each seed."""
  pairs = zip(x.T, y.T, strict=True)
  values = [stats.spearmanr(a, b).statistic for a, b in pairs]
  # One that never changes has no order: it follows nothing.
  return np.nan_to_num(values)


def _size(arm: seen.Arm) -> str:
  name = seen.NAMES.get(arm.network.kind, arm.network.kind)
  return f"{name}, depth {arm.network.depth}, width {arm.network.width}"


def _rank_claims(found: seen.Found) -> list[Claim]:
  arm, size = found.arms[0], _size(found.arms[0])
  last = f"T = {arm.temperatures[-1]:g}"
  common = {"size": size, "paper": SAYS}
  log_t = np.repeat(
    np.log(arm.temperatures)[:, None], arm.seen["norm"].shape[1], axis=1
  )
  made = [
    claims.measured(
      f"{found.classes} clusters are learnt at {last}: accuracy on training "
      "data",
      100 * arm.seen["train"][-1],
      lambda x: x.high >= 99,
      unit="%",
      **common,
    ),
    claims.measured(
      f"Rank deficit at {last}: the logits' rank is below "
      f"{found.classes - 1}, classes less one",
      seen.last_rank(arm, "logits")[-1],
      lambda x: x.high < found.classes - 1,
      **common,
    ),
  ]
  for i, threshold in enumerate(found.thresholds):
    made.append(
      claims.measured(
        f"The logits' rank falls with temperature, threshold {threshold:g}: "
        "Spearman",
        _spearman(log_t, arm.seen["logits"][..., i]),
        lambda x: x.high < -0.9,
        **common,
      )
    )
  aligned = arm.seen["alignment"].mean(-1)
  made.append(
    claims.measured(
      f"Leading directions of activations and of the next kernel are aligned "
      f"more at {last} than at T = {arm.temperatures[0]:g}: squared cosine, "
      "mean over layers, difference",
      aligned[-1] - aligned[0],
      lambda x: x.low > 0,
      **common,
    )
  )
  return made


def _curve_claims(arms: Sequence[seen.Arm]) -> list[Claim]:
  curve, scale, *others = arms
  plain = [arm for arm in others if arm.knob in ("width", "depth")]
  made = []
  for which, these in (
    ("temperature or initial scale", (curve, scale)),
    ("temperature, initial scale, width or depth", (curve, scale, *plain)),
  ):
    both = (
      np.concatenate([arm.seen["norm"] for arm in these]),
      np.concatenate([seen.last_rank(arm, "logits") for arm in these]),
    )
    made.append(
      claims.measured(
        f"Rank follows the initial |z| / T, whether {which} sets it: Spearman "
        "of at least 0.95",
        _spearman(*both),
        lambda x: x.low >= 0.95,
        size=_size(curve),
        paper=SAYS,
      )
    )
  for arm in (scale, *others):
    made += [
      claims.measured(
        f"{seen.NAMES.get(arm.knob, arm.knob).capitalize()} keeps to the "
        f"temperature's curve within {NEAR:.0f} %: {name}, mean distance",
        seen.off_curve(curve, arm, of),
        lambda x: x.high <= NEAR,
        unit="%",
        size=_size(arm),
        paper="not in the paper",
      )
      for of, name in (("logits", "logits"), ("layers", "last features"))
    ]
  return made


def _image_claims(found: seen.Found) -> list[Claim]:
  made = []
  for arm in found.images:
    first, last = arm.temperatures[[0, -1]]
    ranks = seen.last_rank(arm, "layers")
    made.append(
      claims.measured(
        f"Images, {seen.NAMES[arm.knob]}: the last features' rank at T = "
        f"{last:g} is less than at T = {first:g}: ratio",
        ranks[-1] / ranks[0],
        lambda x: x.high < 1,
        size=_size(arm),
        paper=SAYS,
      )
    )
  arm, most = found.images[0], found.image_classes - 1
  made.append(
    claims.measured(
      f"Images, MLP: the logits' rank is below {most} at T = "
      f"{arm.temperatures[-1]:g}",
      seen.last_rank(arm, "logits")[-1],
      lambda x: x.high < most,
      size=_size(arm),
      paper=SAYS,
    )
  )
  return made


def _ood_claims(arm: seen.Arm) -> list[Claim]:
  temperatures = arm.temperatures
  at = lambda t: int(np.argmin(np.abs(np.log(temperatures / t))))
  name = lambda i: f"T = {temperatures[i]:g}"
  common = {"size": _size(arm), "paper": SAYS}
  one, ten, last = at(1.0), at(10.0), len(temperatures) - 1
  probes = 100 * arm.seen["probes"][..., -1]
  made = [
    claims.measured(
      f"Classes held out are read off the last layer worse at {name(last)} "
      f"than at {name(one)}: difference",
      probes[one] - probes[last],
      lambda x: x.low > 0,
      unit="points",
      **common,
    )
  ]
  for detector in ("NECO", "MSP", "energy"):
    quality = 100 * arm.seen["ood"][:, :, seen.DETECTORS.index(detector), 0, 0]
    made.append(
      claims.measured(
        f"Classes held out are detected better at {name(ten)} than at "
        f"{name(0)}, {detector}: difference of AUROC",
        quality[ten] - quality[0],
        lambda x: x.low > 0,
        unit="points",
        **common,
      )
    )
  quality = 100 * arm.seen["ood"][one, :, :, 0, 0]
  few, all_ = (seen.DETECTORS.index(f"KNN, {k}") for k in ("few", "all"))
  made.append(
    claims.measured(
      f"KNN with few neighbours is better than with all of them, {name(one)}: "
      "difference of AUROC",
      quality[:, few] - quality[:, all_],
      lambda x: x.low > 0,
      unit="points",
      size=_size(arm),
      paper="not in the paper",
    )
  )
  return made


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
