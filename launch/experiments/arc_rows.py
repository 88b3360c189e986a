r"""1D-ARC: one automaton for all tasks, told each by its demonstrations.

The second mode of neural cellular automata for ARC, beside `arc_automata`
(Xu & Miikkulainen 2025, https://arxiv.org/abs/2506.15746), after the example of
CAX (Faldor & Cully 2024, https://arxiv.org/abs/2410.02651), which solves
60.12 % of held-out 1D-ARC: rows of colours, three demonstrations to a task.

git clone https://github.com/khalil-research/1D-ARC
python -m launch.run --experiment=arc_rows
python -m launch.run --experiment=arc_rows --set=data=stand_in \
    --workdir=runs/stand_in

Default: an automaton of 27,690 parameters for each of three seeds, 8,000
updates of 8 tasks; 4 CPU-minutes. On 1D-ARC it solves 17.4 % [11.7, 23.2] of
the held-out tenth, far from CAX's 60.12 %, which had twelve times the updates
of twice the tasks through a larger network: most of all noise in many colours,
and no row that is to be flipped, mirrored or hollowed. On the stand-in, which
is easier and says nothing of 1D-ARC, 57 % in 3 CPU-minutes. Batch and rate of
the default were chosen by the loss in training. `paper` was not run.

`paper` is the notebook of CAX, which also embeds the colours of demonstrations;
here they are one-hot. It runs as one program, and a run that is stopped begins
again.
"""

import dataclasses
import functools
import pathlib

import jax

from launch import endings
from launch.findings import arc_rows as findings
from launch.studies import arc_1d, arc_1d_tasks
from simplex.models import automaton
from trainers.problem import Problem
from trainers.reports import Report

STAND_IN = "stand_in"


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on.

  Attributes:
    seed: the first of those of the split, the training and the stand-in.
    num_seeds: automata, each with its own split of the tasks.
    data: folder of 1D-ARC, `<family>/<task>.json`, or "stand_in".
    stand_ins: tasks in each family of the stand-in.
    rule: the automaton and its training.
  """

  seed: int = 0
  num_seeds: int = 3
  data: str = "1D-ARC/dataset"
  stand_ins: int = 50
  rule: arc_1d.Config = arc_1d.Config()

  def __post_init__(self):
    for name in ("num_seeds", "stand_ins"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    data=STAND_IN,
    stand_ins=10,
    rule=arc_1d.Config(
      memory=2, perception_width=8, width=16, steps=4, num_steps=40
    ),
  )


def paper() -> Config:
  """About the sizes of the notebook in CAX, for an accelerator."""
  return Config(rule=arc_1d.paper())


def problem(config: Config, rows: arc_1d_tasks.Rows | None = None) -> Problem:
  """To answer the question of a task; None trains on the stand-in."""
  if rows is None:
    _, rows = _stand_in(config)
  width = arc_1d.packed_width(config.rule, rows)
  return arc_1d.problem(config.rule, rows, width)


def run(config: Config, workdir: str) -> Report:
  """Trains an automaton for each seed, and asks it what was held out."""
  del workdir
  with endings.usage_errors():
    names, rows = _data(config)
  seeds = range(config.seed, config.seed + config.num_seeds)
  asked, losses = arc_1d.run(config.rule, rows, seeds)
  params = jax.eval_shape(
    functools.partial(automaton.init_params, config.rule.model, height=1),
    jax.random.key(0),
  )
  return findings.report(
    findings.Found(
      data=None if config.data == STAND_IN else config.data,
      names=names,
      tasks=len(rows.family),
      asked=asked,
      losses=losses,
      parameters=sum(x.size for x in jax.tree.leaves(params)),
      steps=config.rule.steps,
      batch_size=config.rule.batch_size,
    )
  )


def _data(config: Config):
  if config.data == STAND_IN:
    return _stand_in(config)
  return arc_1d_tasks.read(pathlib.Path(config.data))


def _stand_in(config: Config):
  return arc_1d_tasks.stand_in(config.seed, config.stand_ins)
