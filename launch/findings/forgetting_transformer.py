"""What is said of the Forgetting Transformer: claims, figures and tables."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from trainers import claims, figures, heat_maps
from trainers.figures import Series
from trainers.intervals import interval
from trainers.reports import Claim, Figure, Report, Table

MAIN = {
  "fox_pro": "FoX (Pro)",
  "fox": "FoX",
  "rope_pro": "RoPE (Pro)",
  "rope": "RoPE",
  "fixed": "fixed gates",
  "nope": "NoPE",
}
ABLATIONS = {
  "no_shift": "Pro without key-value shift",
  "no_qk_norm": "Pro without QK-norm",
  "no_output_gate": "Pro without output gate",
  "no_output_norm": "Pro without output norm",
  "independent": "Pro with data-independent gates",
  "nope_pro": "Pro without forget gate",
  "with_rope": "Pro with RoPE",
}
ARMS = MAIN | ABLATIONS
# Perplexities of 360M parameters and 7.5 B tokens (Table 3).
TABLE_3 = {
  "nope": 29.30,
  "rope": 7.49,
  "fox": 7.25,
  "fox_pro": 6.62,
  "rope_pro": 6.82,
  "no_qk_norm": 6.79,
  "no_output_gate": 6.86,
  "no_output_norm": 6.69,
  "no_shift": 6.80,
  "nope_pro": 7.40,
  "with_rope": 6.63,
}
FLAT = 0.05  # bits per byte that long contexts may cost
SMOOTHED = 33  # positions in the moving mean of a curve


class Arm(NamedTuple):
  """A trained arm.

  Attributes:
    parameters: how many.
    bits: of held-out bytes by position, `[seeds, T]`, T the evaluated length.
    short: of the bytes of the later half, read with no more than what training
      had before them, `[seeds]`.
  """

  parameters: int
  bits: np.ndarray
  short: np.ndarray


class Passage(NamedTuple):
  """What two heads do on one text.

  Attributes:
    text: its T characters.
    heads: name of a head to its matrices, each `[T, T]`: by how much the gates
      have faded a key, and the weight of the key.
  """

  text: str
  heads: Mapping[str, tuple[np.ndarray, np.ndarray]]


class Pruned(NamedTuple):
  """Blocks that trained gates let a kernel leave out.

  Attributes:
    length: of the sequences.
    block: queries and keys in a block.
    log_epsilon: logs of the weight that a row may lose, `[N]`.
    skipped: fraction of the blocks by the published rule, `[seeds, N]`.
    lost: the most that any row has lost, `[seeds, N]`.
    online: fraction by the rule that walks back, `[seeds]`, at e^-10.
  """

  length: int
  block: int
  log_epsilon: np.ndarray
  skipped: np.ndarray
  lost: np.ndarray
  online: np.ndarray


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    corpus: where the text is from.
    context: length of training.
    steps: of training.
    arms: name to results.
    gates: arm to the mean gate of each head, `[seeds, L, H]`.
    passage: what heads of the first arm with gates do; None without any.
    pruned: arm to what its gates spare; arms with data-dependent gates.
  """

  corpus: str
  context: int
  steps: int
  arms: Mapping[str, Arm]
  gates: Mapping[str, np.ndarray]
  passage: Passage | None
  pruned: Mapping[str, Pruned]


def report(found: Found) -> Report:
  """The claims beside what was found."""
  longest = next(iter(found.arms.values())).bits.shape[1]
  return Report(
    title="The Forgetting Transformer: attention that forgets",
    summary=(
      f"Small language models on the bytes of {found.corpus}, trained on "
      f"{found.context} bytes at a time and evaluated on {longest}. Arms "
      "differ in how attention knows of distance: by forget gates (FoX), by "
      "rotation (RoPE), or not at all (NoPE). Intervals are 95 %, over seeds; "
      "differences are between arms with the same seed."
    ),
    claims=[
      *_order_claims(found),
      *_length_claims(found),
      *_ablation_claims(found),
      *(c for x in found.pruned.items() for c in _pruning_claims(*x)),
    ],
    figures=[
      _position_figure(found),
      *_ablation_figures(found),
      *_passage_figures(found.passage),
      *_gate_figures(found.gates),
      *_pruning_figures(found.pruned),
    ],
    tables=[_table(found)],
    notes=_notes(),
  )


def trained(found: Found, arm: str) -> np.ndarray:
  """Bits at the positions of training, `[seeds]`."""
  return found.arms[arm].bits[:, : found.context].mean(1)


def rise(found: Found, arm: str) -> np.ndarray:
  """What long context costs the bytes of the later half, `[seeds]`."""
  bits, short = found.arms[arm].bits, found.arms[arm].short
  return bits[:, bits.shape[1] // 2 :].mean(1) - short


def _size(found: Found, arm: str) -> str:
  return f"{found.arms[arm].parameters:,} parameters, {found.steps} steps"


def _ratio(better: str, worse: str) -> str:
  if better not in TABLE_3 or worse not in TABLE_3:
    return "lower (Fig. 7)"
  bits = np.log2(TABLE_3[better] / TABLE_3[worse])
  return f"{bits:.2f} bits/token ({TABLE_3[better]} and {TABLE_3[worse]})"


def _lower_claim(found: Found, better: str, worse: str) -> Claim:
  return claims.measured(
    f"{ARMS[better]} needs fewer bits than {ARMS[worse]} at the length of "
    "training: the difference",
    trained(found, better) - trained(found, worse),
    lambda x: x.high < 0,
    unit="bits/byte",
    paper=_ratio(better, worse),
    size=_size(found, better),
  )


def _order_claims(found: Found) -> list[Claim]:
  pairs = (
    ("fox_pro", "fox"),
    ("fox", "rope"),
    ("fox_pro", "rope_pro"),
    ("rope", "nope"),
    ("fox", "fixed"),
  )
  return [_lower_claim(found, *p) for p in pairs if set(p) <= set(found.arms)]


def _length_claims(found: Found) -> list[Claim]:
  times = next(iter(found.arms.values())).bits.shape[1] // found.context
  made = []
  for arm in MAIN:
    if arm not in found.arms or arm == "nope":
      continue
    forgets = arm in ("fox", "fox_pro", "fixed")
    most = "less" if forgets else "more"
    text = f"loses {most} than {FLAT} bits by contexts {times} times as long"
    holds = (lambda x: x.high < FLAT) if forgets else (lambda x: x.low > FLAT)
    made.append(
      claims.measured(
        f"{ARMS[arm]} {text} as in training: what the same bytes cost more",
        rise(found, arm),
        holds,
        unit="bits/byte",
        paper="not in the paper: any decay does"
        if arm == "fixed"
        else "Fig. 2, from 16k to 64k tokens",
        size=_size(found, arm),
      )
    )
  return made


def _ablation_claims(found: Found) -> list[Claim]:
  if "fox_pro" not in found.arms:
    return []
  return [
    _lower_claim(found, "fox_pro", arm)
    for arm in ABLATIONS
    if arm in found.arms and arm != "with_rope"
  ]


def _pruning_claims(arm: str, pruned: Pruned) -> list[Claim]:
  at = int(np.abs(pruned.log_epsilon + 10).argmin())
  size = f"{pruned.length} positions, blocks of {pruned.block}"
  return [
    claims.measured(
      f"{ARMS[arm]}: leaving out what is forgotten spares more than half of "
      "the blocks, by the published rule",
      100 * pruned.skipped[:, at],
      lambda x: x.low > 50,
      unit="%",
      paper="about 70 % of attention FLOPs",
      size=size,
    ),
    claims.measured(
      f"{ARMS[arm]}: the same by walking back with the normaliser, at the "
      "blocks of the kernel",
      100 * pruned.online,
      lambda x: x.low > 50,
      unit="%",
      paper="not in the paper",
      size=f"{pruned.length} positions",
    ),
    Claim(
      f"{ARMS[arm]}: no row loses more than e^-10 of its weight: the most lost",
      paper="4.5e-5 at most",
      ours=float(pruned.lost[:, at].max()),
      size=size,
      holds=bool(pruned.lost[:, at].max() <= np.exp(-10)),
    ),
  ]


def _smooth(bits_NT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Moving means over positions, and the positions they are centred on."""
  width = min(SMOOTHED, bits_NT.shape[1])
  sums = np.cumsum(np.pad(bits_NT, ((0, 0), (1, 0))), axis=1)
  means = (sums[:, width:] - sums[:, :-width]) / width
  return np.arange(means.shape[1]) + width / 2, means


def _position_figure(found: Found) -> Figure:
  curves = {}
  for arm in MAIN:
    if arm in found.arms:
      x, means = _smooth(found.arms[arm].bits)
      every = max(1, len(x) // 200)
      series = Series(x, *interval(means))
      curves[ARMS[arm]] = Series(*(column[::every] for column in series))
  return figures.lines(
    "Loss by position",
    curves,
    xlabel=f"position (trained on the first {found.context})",
    ylabel="bits per byte, held out",
    caption=f"L(i), a moving mean over {SMOOTHED} positions; mean and 95 % "
    "interval over seeds.",
  )


def _ablation_figures(found: Found) -> list[Figure]:
  shown = [arm for arm in ("fox_pro", *ABLATIONS) if arm in found.arms]
  if len(shown) < 2:
    return []
  ends = [interval(trained(found, arm)) for arm in shown]
  columns = [np.array(x) for x in zip(*ends, strict=True)]
  base = columns[0][0]
  return [
    figures.bars(
      "Each switch of the Pro block",
      [ARMS[arm] for arm in shown],
      {"bits above FoX (Pro)": columns[0] - base},
      errors={"bits above FoX (Pro)": (columns[1] - base, columns[2] - base)},
      value_label="bits per byte above FoX (Pro)",
      caption="At the length of training; 95 % intervals over seeds.",
    )
  ]


def _passage_figures(passage: Passage | None) -> list[Figure]:
  if passage is None:
    return []
  labels = [x if x.isprintable() and x != " " else "_" for x in passage.text]
  return [
    heat_maps.heat_maps(
      f"What {name} forgets",
      {"gates: F": faded, "attention": weights},
      labels,
      xlabel="key",
      ylabel="query",
      value_label="share",
      caption="Left, how much of a key the gates have left: the product of "
      "the gates since. Right, the weights of attention.",
    )
    for name, (faded, weights) in passage.heads.items()
  ]


def _gate_figures(gates: Mapping[str, np.ndarray]) -> list[Figure]:
  if not gates:
    return []
  _, L, H = next(iter(gates.values())).shape
  means = {
    ARMS[arm]: interval(values.reshape(len(values), L * H))
    for arm, values in gates.items()
  }
  return [
    figures.bars(
      "Mean gate of each head",
      [f"layer {i + 1}, head {h + 1}" for i in range(L) for h in range(H)],
      {name: x.mean for name, x in means.items()},
      errors={name: (x.low, x.high) for name, x in means.items()},
      value_label="mean forget gate on held-out text",
      caption="A gate of f halves a key in log 2 / -log f tokens. Heads are "
      "sorted in each layer and seed, as their order means nothing.",
    )
  ]


def _pruning_figures(pruned: Mapping[str, Pruned]) -> list[Figure]:
  if not pruned:
    return []
  first = next(iter(pruned.values()))
  return [
    figures.lines(
      "Blocks left out",
      {
        ARMS[arm]: Series(x.log_epsilon, *interval(100 * x.skipped))
        for arm, x in pruned.items()
      },
      xlabel="log of the weight that a row may lose",
      ylabel="% of blocks",
      caption=f"Published rule, {first.length} positions, blocks of "
      f"{first.block}; the paper takes -10.",
    )
  ]


def _table(found: Found) -> Table:
  rows = []
  for arm, result in found.arms.items():
    x = interval(trained(found, arm))
    published = TABLE_3.get(arm, np.nan)
    more = interval(rise(found, arm)).mean
    rows.append(
      (ARMS[arm], result.parameters, x.mean, x.low, x.high, more, published)
    )
  return Table(
    "Every arm",
    (
      "arm",
      "parameters",
      "bits/byte",
      "low",
      "high",
      "cost of long context",
      "paper's perplexity",
    ),
    rows,
    caption="Bits per byte over the positions of training. The cost of long "
    "contexts is for the same bytes. Paper: Table 3, 360M parameters.",
  )


def _notes() -> Sequence[str]:
  return [
    "Fixed gates extrapolate as well as learned ones: flatness beyond the "
    "length of training comes from any decay. What gates that depend on the "
    "data add is a lower loss.",
    "Training, validation and test are contiguous parts of the text, so at "
    "most one document is in two of them.",
    "All arms have one learning rate. The paper tunes it for each.",
  ]
