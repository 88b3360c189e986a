r"""Neural cellular automata for ARC tasks (Xu & Miikkulainen 2025).

https://arxiv.org/abs/2506.15746

python -m launch.run --experiment=arc_automata
"""

import dataclasses
import pathlib

from launch.findings import arc_automata as findings
from launch.studies import arc_lanes, arc_rows, arc_store, arc_tasks
from simplex.models import automaton
from trainers import optimizers, progress
from trainers.reports import Report


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on.

  Attributes:
    seed: of the sample and of everything that is random.
    data: "arcagi1", "arcagi2", or a folder of ARC JSON files.
    tasks: one of `arc_tasks.SETS`, or names of tasks.
    sample: tasks in the set "sample", drawn by the seed.
    largest: the most rows or columns of a grid in "sample".
    held_out: ask for the last training pair and not for the test; recipes are
      chosen by it.
    recipe: how automata are trained, and who answers.
    model: of every automaton.
    together: tasks that are trained before the first of them is written.
    at_once: automata that a device trains together.
    minutes: after which no more tasks are begun; the same command goes on with
      them. None is no limit.
  """

  seed: int = 0
  data: str = "arcagi1"
  tasks: tuple[str, ...] = ("sample",)
  sample: int = 28
  largest: int = 10
  held_out: bool = False
  recipe: arc_lanes.Recipe = arc_lanes.Recipe()
  model: automaton.Config = automaton.Config()
  together: int = 4
  at_once: int = 1
  minutes: float | None = None

  def __post_init__(self):
    for name in ("sample", "largest", "together", "at_once"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
    if not self.tasks:
      raise ValueError(
        f"tasks is empty; give names, or one of {list(arc_tasks.SETS)}"
      )
    if self.minutes is not None and self.minutes <= 0:
      raise ValueError(f"minutes={self.minutes} must be above 0, or none")
