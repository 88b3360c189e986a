"""What is said of one automaton for all of 1D-ARC: claims, table, pictures."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from launch.studies import arc_1d
from launch.studies.arc_1d_tasks import DEMONSTRATIONS
from simplex.types import Array
from trainers import claims, figures, grid_pictures
from trainers.grid_pictures import Panel
from trainers.intervals import Interval, interval
from trainers.reports import Claim, Figure, Report, Table

TASKS = 901  # of 1D-ARC
CAX, GPT_4 = 60.12, 41.56  # per cent of 1D-ARC's held-out tasks, says CAX
WHOLE = (  # families of which CAX solves 100 %
  "1d_move_1p",
  "1d_move_2p",
  "1d_move_3p",
  "1d_pcopy_1c",
  "1d_pcopy_mc",
)
NONE = ("1d_recolor_oe", "1d_recolor_cnt", "1d_recolor_cmp")  # and 0 %
MOST = 6  # tasks in a picture


class Found(NamedTuple):
  """What was measured, before any words are put to it.

  Attributes:
    data: the folder; None is the stand-in.
    names: of the families.
    tasks: trained on and held out.
    asked: of each seed.
    losses: of each seed and update, `[S, N]`.
    parameters: of an automaton.
    steps: of a rollout.
    batch_size: tasks in an update.
  """

  data: str | None
  names: Sequence[str]
  tasks: int
  asked: Sequence[arc_1d.Asked]
  losses: Array
  parameters: int
  steps: int
  batch_size: int

  @property
  def is_whole(self) -> bool:
    """Whether this is 1D-ARC as published, as far as it can be counted."""
    known = {*WHOLE, *NONE} <= set(self.names)
    return self.data is not None and self.tasks == TASKS and known

  @property
  def size(self) -> str:
    updates = self.losses.shape[1]
    return f"{self.parameters:,} parameters, {updates:,} updates"

  def solved(self, families: Sequence[str]) -> np.ndarray:
    """Per cent of each seed's questions of families; NaN where it has none."""
    chosen = [self.names.index(name) for name in families]
    shares = []
    for asked in self.asked:
      own = np.isin(asked.rows.family, chosen)
      shares.append(100 * asked.exact[own].mean() if own.any() else np.nan)
    return np.array(shares)


def report(found: Found) -> Report:
  """The claims beside what was found."""
  title = "One automaton for all of 1D-ARC"
  if not found.is_whole:
    title = "One automaton for rows that stand in for 1D-ARC"
    if found.data is not None:
      title = "One automaton for rows that are not all of 1D-ARC"
  return Report(
    title=title,
    summary=_summary(found),
    claims=list(_claims(found)),
    figures=[
      _family_figure(found),
      *_galleries(found),
      _loss_figure(found),
    ],
    tables=[_family_table(found)],
    notes=[
      "The numbers of CAX and GPT-4 are as CAX reports them; its split of the "
      "tasks, and which tasks GPT-4 was asked, are not known here."
    ],
  )


def _summary(found: Found) -> str:
  data = f"{found.tasks:,} tasks of {found.data}"
  if not found.is_whole:
    data += ", which are not the 901 of 1D-ARC"
  if found.data is None:
    data = (
      f"{found.tasks:,} tasks made in {len(found.names)} families like those "
      "of 1D-ARC. No number here is one on 1D-ARC"
    )
  return (
    f"One rule of {found.parameters:,} parameters answers every task: the "
    "three demonstrations stand in channels above the cells of the question, "
    f"and after {found.steps} steps the row is the answer. Each seed draws a "
    "tenth of the tasks, trains on the others, mirrored and with colours and "
    f"demonstrations exchanged, {found.batch_size} in an update, and asks "
    "that tenth. An answer counts when every cell is right; intervals are "
    f"95 %, over seeds. The data: {data}."
  )


def _claims(found: Found) -> Iterator[Claim]:
  everything = found.solved(found.names)
  yield _claim(
    found,
    "Held-out questions solved, of all families: as many as CAX solves",
    everything,
    lambda x: x.high >= CAX,
    CAX,
  )
  yield _claim(
    found,
    "One automaton solves more than GPT-4",
    everything,
    lambda x: x.low > GPT_4,
    GPT_4,
  )
  if found.is_whole:
    yield _claim(
      found,
      "All questions are solved that move by 1, 2 or 3 or copy a pattern",
      found.solved(WHOLE),
      lambda x: x.mean == 100,
      100,
    )
    yield _claim(
      found,
      "No question is solved that recolours by parity, size or comparison",
      found.solved(NONE),
      lambda x: x.mean == 0,
      0,
    )


def _claim(
  found: Found,
  text: str,
  values: np.ndarray,
  holds: Callable[[Interval], bool],
  paper: float,
) -> Claim:
  """Judged on 1D-ARC alone."""
  if found.is_whole:
    fields = {"paper": paper}
  else:
    text = f"Not on 1D-ARC: {text[0].lower()}{text[1:]}"
    fields = {"paper": f"{paper} % on 1D-ARC, not comparable"}
  fields |= {"unit": "%", "size": found.size}
  claim = claims.measured(text, values, holds, **fields)
  return claim if found.is_whole else claim._replace(holds=None)


def _pooled(found: Found, name: str) -> np.ndarray:
  """Whether each question of a family was solved, of all seeds."""
  family = found.names.index(name)
  return np.concatenate(
    [asked.exact[asked.rows.family == family] for asked in found.asked]
  )


def _family_table(found: Found) -> Table:
  rows = []
  for name in found.names:
    exact = _pooled(found, name)
    known = "100 %" if name in WHOLE else "0 %" if name in NONE else None
    share = 100 * exact.mean() if exact.size else None
    rows.append((name, exact.size, int(exact.sum()), share, known))
  return Table(
    "Families",
    ("family", "asked", "solved", "%", "CAX, where it is known"),
    rows,
    "Held-out questions of all seeds together.",
  )


def _family_figure(found: Found) -> Figure:
  means, lows, highs = [], [], []
  for name in found.names:
    shares = found.solved([name])
    shares = shares[np.isfinite(shares)]
    ends = interval(shares) if shares.size else Interval(*[np.nan] * 3)
    for end, kept in zip(ends, (means, lows, highs), strict=True):
      kept.append(np.clip(end, 0, 100))
  return figures.bars(
    "Solved in each family",
    found.names,
    {"solved": means},
    errors={"solved": (lows, highs)},
    references={"CAX, all families": CAX} if found.is_whole else None,
    value_label="% of held-out questions",
    caption="Mean over seeds, and its 95 % interval within 0 and 100.",
  )


def _loss_figure(found: Found) -> Figure:
  """Means over pieces of the training: single updates are noise."""
  S, N = found.losses.shape
  piece = max(1, N // 50)
  count = N // piece
  pieces = np.asarray(found.losses)[:, : count * piece].reshape(S, count, piece)
  x = piece * (1 + np.arange(count))
  return figures.lines(
    "Loss in training",
    {"loss": (x, *interval(pieces.mean(-1)))},
    xlabel="update",
    ylabel="nats per cell",
    log_y=True,
    caption=f"Mean over seeds of means over {piece} updates, with 95 % "
    "intervals.",
  )


def _galleries(found: Found) -> list[Figure]:
  """Of the first seed, from as many families as there is room for."""
  asked = found.asked[0]
  made = []
  for title, chosen in (("Solved", asked.exact), ("Not solved", ~asked.exact)):
    rows = {
      f"{found.names[asked.rows.family[i]]} · task {i}": _panels(asked, i)
      for i in _spread(np.flatnonzero(chosen), asked.rows.family)
    }
    if rows:
      made.append(
        grid_pictures.gallery(
          title,
          rows,
          caption="Each demonstration has its input above its output; the "
          "automaton's row runs downwards from the question, a step a line; "
          "last, its answer above what is wanted, with crosses on wrong cells.",
        )
      )
  return made


def _spread(chosen: np.ndarray, family: np.ndarray) -> list[int]:
  """The first of each family, evenly over the families."""
  _, first = np.unique(family[chosen], return_index=True)
  places = np.linspace(0, len(first) - 1, min(MOST, len(first)))
  return [int(chosen[first[round(place)]]) for place in places]


def _panels(asked: arc_1d.Asked, i: int) -> list[Panel]:
  inputs, outputs = asked.rows.inputs[i], asked.rows.outputs[i]
  inside = lambda rows, n: np.stack(rows)[:, inputs[n] >= 0]
  shown = [
    Panel(f"shown {n + 1}", inside([inputs[n], outputs[n]], n))
    for n in range(DEMONSTRATIONS)
  ]
  steps = asked.steps[:, i]
  answer = inside([steps[-1], outputs[-1]], -1)
  wrong = np.stack([answer[0] != answer[1], np.zeros(answer.shape[1], bool)])
  return [
    *shown,
    Panel(f"{len(steps)} steps", inside([inputs[-1], *steps], -1)),
    Panel("answer, wanted", answer, wrong),
  ]
