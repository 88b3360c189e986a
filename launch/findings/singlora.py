"""What is said of SingLoRA: the claims, in words."""

from collections.abc import Sequence

import numpy as np

from launch.findings import (
  singlora_pictures as pictures,
  singlora_runs as seen,
)
from trainers import claims
from trainers.reports import Claim, Report

BELOW = 3.0  # decades that SingLoRA is to be below LoRA in Figure 1's toy
SAME = 1e-10  # of changes in float64 that moved by about 1
# Of the paper's Table on LLaMA-7B (MNLI) and of its GLUE means.
PAPER = {
  "lora": "accuracy 91.3 against 89.1 % (LLaMA-7B), mean 89.2 against 88.3",
  "lora_plus": "accuracy 91.3 against 90.2 % (LLaMA-7B), means equal",
  "dora": "accuracy 91.3 against 90.6 % (LLaMA-7B), means equal",
  "singlora_row_adam": "not in the paper",
  "singlora_trap": "not in the paper",
}
# Trainable parameters, in millions, as printed: LoRA, SingLoRA.
PAPER_COUNTS = {"LLaMA-7B": (20, 12), "GPT-2": (1.78, 0.89)}
NEAR = 0.06  # of a printed number, rounded or cut


def report(found: seen.Found) -> Report:
  """The claims beside what was found."""
  return Report(
    title="SingLoRA: a low-rank change from one matrix",
    summary=(
      f"A language model, {found.first}, is tuned to {found.corpus} with its "
      "parameters frozen. Each arm has the learning rate that is best on "
      f"validation text; of test text {found.unit} are reported, lower is "
      "better. Seeds share data, so differences are taken seed by seed. "
      "Intervals are 95 %, over seeds."
    ),
    claims=all_claims(found),
    figures=[
      *pictures.tuning_figures(found),
      pictures.attention_figure(found),
      pictures.width_figure(found),
      *pictures.share_figures(found),
    ],
    tables=[
      pictures.tuning_table(found),
      pictures.width_table(found),
      pictures.invariance_table(found),
    ],
    notes=_notes(),
  )


def all_claims(found: seen.Found) -> list[Claim]:
  """Those of the paper, and those that follow from looking at it."""
  return [
    *_tuning_claims(found),
    *_robustness_claims(found),
    *_attention_claims(found),
    *_width_claims(found),
    *_invariance_claims(found),
    *_start_claims(found),
    *_count_claims(found),
  ]


def _size(found: seen.Found, *arms: str) -> str:
  counts = [f"{found.tuned[arm].parameters:,}" for arm in arms]
  return f"{' against '.join(counts)} parameters, {found.steps} steps"


def _tuning_claims(found: seen.Found) -> list[Claim]:
  if "singlora" not in found.tuned:
    return []
  ours = seen.chosen_bits(found, "singlora")
  made = []
  for arm, paper in PAPER.items():
    if arm in found.tuned:
      made.append(
        claims.measured(
          f"At equal parameters SingLoRA needs fewer bits than "
          f"{seen.NAMES[arm]}: difference",
          ours - seen.chosen_bits(found, arm),
          lambda x: x.high < 0,
          paper=paper,
          unit=found.unit,
          size=_size(found, "singlora", arm),
        )
      )
  if {"lora", "singlora_rank"} <= found.tuned.keys():
    made.append(
      claims.measured(
        "At equal rank SingLoRA needs no more bits than LoRA: difference",
        seen.chosen_bits(found, "singlora_rank")
        - seen.chosen_bits(found, "lora"),
        lambda x: x.high <= 0,
        paper="as above: the paper's ranks are equal",
        unit=found.unit,
        size=_size(found, "singlora_rank", "lora"),
      )
    )
  return made


def _robustness_claims(found: seen.Found) -> list[Claim]:
  if not {"lora", "singlora"} <= found.tuned.keys():
    return []
  spread = {arm: seen.spread(found, arm) for arm in ("lora", "singlora")}
  return [
    claims.measured(
      "SingLoRA depends less on the learning rate than LoRA: worst less best "
      f"test bits over rates {found.rates[0]:g} to {found.rates[-1]:g}, "
      "difference",
      spread["singlora"] - spread["lora"],
      lambda x: x.high < 0,
      paper="accuracy varies by 1 against 4.8 % (Figure 2)",
      unit=found.unit,
      size=_size(found, "singlora", "lora"),
    )
  ]


def _attention_claims(found: seen.Found) -> list[Claim]:
  # At a constant rate Adam wanders about the end: the least loss is judged.
  logs = {arm: np.log10(x.min(1)) for arm, x in found.attention.items()}
  size = f"least loss of {found.attention_steps[-1]:,} steps"
  return [
    claims.measured(
      "Figure 1: SingLoRA's loss is below LoRA's at equal parameters by a "
      f"factor of 10^{BELOW:g}: decades",
      logs["lora"] - logs["singlora"],
      lambda x: x.low >= BELOW,
      paper="lower, faster (a plot)",
      size=size,
    ),
    claims.measured(
      "Figure 1 with a control: SingLoRA's loss is below that of LoRA at "
      "equal rank, which has twice the parameters: decades",
      logs["lora_rank"] - logs["singlora"],
      lambda x: x.low > 0,
      paper="not shown",
      size=size,
    ),
  ]


def _width_claims(found: seen.Found) -> list[Claim]:
  cfg, made = found.width, []
  widths = f"n = {cfg.widths[0]} to {cfg.widths[-1]:,}"
  size = f"{widths}, c from {min(cfg.constants)} to {max(cfg.constants)}"
  for arm, exponent, stable, paper in (
    ("singlora", -0.5, True, "stable feature learning"),
    ("singlora", -1.0, True, "not in the paper"),
    ("lora", -1.0, False, "LoRA needs unequal rates"),
  ):
    share = seen.converging(found, arm, exponent).mean(0).max()
    made.append(
      Claim(
        f"{seen.NAMES[arm]}'s toy of widths, learning rate c n^{exponent:g}: "
        f"{'one' if stable else 'no'} c converges at every width: share of "
        "widths and seeds that do, at the best c",
        paper=paper,
        ours=100 * float(share),
        unit="%",
        size=size,
        holds=bool(share == 1.0) == stable,
      )
    )
  floor = cfg.opposed**2 / 2
  reached = found.widths["opposed"].min(1)
  made.append(
    claims.measured(
      "A target opposed to the input is out of reach of A A^T: loss for each "
      f"dimension stays at its bound {floor:.3f} or above (correlation "
      f"{cfg.opposed:g})",
      reached.mean(0),
      lambda x: x.low >= floor - 1e-3,
      paper="not in the paper",
      size=widths,
    )
  )
  last = {name: x[-1] for name, x in found.gaussian.items()}
  made.append(
    claims.measured(
      "One factor can make any change of a square kernel at full rank: share "
      "of a Gaussian one",
      100 * last["singlora"],
      lambda x: x.high >= 99.9,
      paper="argued for products W_q W_k^T only",
      unit="%",
      size=f"rank {found.ranks[-1]}; LoRA {100 * last['lora_rank'].mean():.0f} "
      "%",
    )
  )
  if found.real is not None:
    made.append(_real_claim(found))
  return made


def _real_claim(found: seen.Found) -> Claim:
  ours, pair = (100 * found.real[name].mean(0) for name in ("singlora", "lora"))
  return claims.measured(
    "One factor reaches as much as two of equal parameters do of the changes "
    "that full fine-tuning makes of square kernels: difference in points, mean "
    "over ranks",
    ours - pair,
    lambda x: x.low >= 0,
    paper="not in the paper",
    unit="%",
    size=f"ranks {found.ranks[0]} to {found.ranks[-1]}; "
    f"{ours.mean():.0f} against {pair.mean():.0f} %",
  )


def _invariance_claims(found: seen.Found) -> list[Claim]:
  papers = {
    "SGD": "Theorems 2 and 3",
    "AdamW": "Theorem 2, said of SGD and AdamW (section 4.3)",
    "row_adam": "not in the paper",
  }
  return [
    claims.measured(
      f"From A and from A Q training goes the same way: {name}, largest "
      "relative difference",
      found.invariance[name].max(0),
      lambda x: x.high < SAME,
      paper=paper,
      size="square and not, 20 steps, float64",
    )
    for name, paper in papers.items()
  ]


def _start_claims(found: seen.Found) -> list[Claim]:
  texts = {
    "n": "A starts by its long side: the first change is smaller than a kernel",
    "r": "A starts by its rank, as in the public ports: it still is",
  }
  return [
    claims.measured(
      f"{text}: spectral norm of A A^T over the kernel's",
      found.norms[name],
      lambda x: x.high < 1,
      paper="Kaiming, without its fan-in",
      size="768 x 768, rank 8",
    )
    for name, text in texts.items()
  ]


def _count_claims(found: seen.Found) -> list[Claim]:
  made = []
  for model, ours in found.counts.items():
    for name, count, millions in zip(
      ("LoRA", "SingLoRA"), ours, PAPER_COUNTS[model], strict=True
    ):
      made.append(
        Claim(
          f"{model}, rank 8: {name} trains about as many parameters as printed",
          paper=f"{millions:g}M",
          ours=count,
          size=f"{100 * count / ours[0]:.0f} % of LoRA's",
          holds=abs(count / millions / 1e6 - 1) < NEAR,
        )
      )
  return made


def _notes() -> Sequence[str]:
  return [
    "The paper's tables compare one run of each at equal rank, where SingLoRA "
    "has fewer parameters. Here both comparisons are made; at equal parameters "
    "its rank is larger.",
    "LoRA+ moves b 20 times as fast as a, and the learning rate is their "
    "geometric mean.",
    "At the solution of the toy of widths the curvature is (a.x)^2 + |a|^2 "
    "|x|^2, of order n: gradient descent needs a rate of order 1 / n. The "
    "paper's n^-1/2 takes a.x to be of order 1, which ends as a aligns with x.",
    "On the counts: one factor has max(d_in, d_out) r parameters and two have "
    "(d_in + d_out) r. Half is saved where kernels are square alone; in GPT-2 "
    "a quarter is, and the paper's 1.78M looks like 1.18M.",
    "A A^T is symmetric and has no negative eigenvalue. Half of a random "
    "change is antisymmetric, half of the rest negative: a quarter is left. "
    "Kernels that are not square are freer: only a square block of their "
    "change is of this form.",
    "Theorem 3's proof takes equal changes to come from A and A Q with one Q, "
    "which is false where the rank exceeds the short side; what is tested is "
    "the action of Q.",
  ]
