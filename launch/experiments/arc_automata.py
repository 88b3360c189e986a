r"""Neural cellular automata for ARC tasks (Xu & Miikkulainen 2025).

One rule of 10,410 parameters per task, trained on the task's own pairs alone,
grows the output from the input. https://arxiv.org/abs/2506.15746

python -m launch.run --experiment=arc_automata
python -m launch.run --experiment=arc_automata \
    --set=tasks=3618c87e,a699fb00 --workdir=runs/two
python -m launch.run --experiment=arc_automata --preset=own --workdir=runs/own
python -m launch.run --experiment=arc_automata --preset=own \
    --set=tasks=evaluation --workdir=runs/evaluation
python -m launch.run --experiment=arc_automata --preset=paper \
    --set=recipe.updates=300 --set=recipe.trials=4 --workdir=runs/plain

Default: 28 of the paper's 172 tasks, drawn by the seed among those of at most
10 x 10; 9 CPU-minutes. 11 are solved exactly in two attempts; one automaton on
the pairs as they are solves 6.3 [4.9, 7.8] and one with symmetries 10.3
[5.2, 15.5].

`own` on all 172 tasks took 2.7 CPU-hours: 47 are solved exactly in two attempts
and 44 in one, against the paper's 23. One automaton on the pairs as they are
solves 25.7 [18.1, 33.3], one with symmetries 32.3 [30.9, 33.8].

Of the 400 evaluation tasks 270 keep their size; the 222 smallest of these took
4.2 CPU-hours, and 24 are solved exactly in two attempts and 22 in one (the best
peer: 9). One automaton solves 7.0 [4.5, 9.5], one with symmetries 14.7
[10.9, 18.5]. The other 48 were not run, nor `paper` itself.

Our recipe: two arms of three automata for each task, one trained on the pairs
in all eight symmetries and with exchangeable colours exchanged, one on the
pairs as they are. The first arm that fits the pairs answers first, by the mean
over its automata and symmetries; the other has the second attempt.

The recipe was chosen on training pairs alone, `--set=held_out=true`: of 12
tasks of at most 9 x 9, drawn by the seed 11, one automaton with 500 updates
solved the held-out pair of 4 as the pairs are, of 3 with content shifted, of 3
with symmetries, and of 5 with symmetries and colours, 3 of which were new: so
shifts are not in it, and two arms are, with an attempt each.

A run goes in parts: each task is a file, written when it is known, and the
same command goes on where it was stopped. With `--set=minutes=` it ends by
itself; 0 reports on what is done. The report says how much was run.

Departures from the paper, in its own preset: decay is of matrices alone and its
size ours, and the gradient is clipped; the text that we have tells neither.
"""

import dataclasses
import functools
import math
import time

import jax

from launch import endings
from launch.findings import arc_automata as findings
from launch.studies import arc_lanes, arc_rows, arc_store, arc_tasks
from simplex.models import automaton
from trainers import files, optimizers, progress
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
      them. None is no limit, and 0 only reports on what is done.
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
  minutes: float | None = dataclasses.field(
    default=None, metadata={"pace": True}
  )

  def __post_init__(self):
    for name in ("sample", "largest", "together", "at_once"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
    if not self.tasks:
      raise ValueError(
        f"tasks is empty; give names, or one of {list(arc_tasks.SETS)}"
      )
    if self.minutes is not None and self.minutes < 0:
      raise ValueError(f"minutes={self.minutes} must be at least 0, or none")


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    tasks=("25ff71a9", "3618c87e", "a85d4709"),
    recipe=arc_lanes.Recipe(
      arms=("dihedral_colours", "plain"),
      num_seeds=2,
      updates=20,
      trials=2,
      chunk=20,
      optimizer=optimizers.Config(learning_rate=5e-3, schedule="linear"),
    ),
    model=automaton.Config(steps=4),
  )


def paper() -> Config:
  """The published protocol over all feasible tasks, for an accelerator.

  800 epochs of one update for each training pair, of 128 rollouts each. Weight
  decay is not in the paper's text that we have.
  """
  return Config(
    tasks=("feasible",),
    recipe=arc_lanes.Recipe(
      arms=("plain",),
      num_seeds=3,
      updates=800,
      per_pair=True,
      mixed=False,
      steps_per_side=0.0,
      trials=128,
      cells=128 * 30**2,
      patience=0,
      optimizer=optimizers.Config(
        learning_rate=2e-3,
        schedule="linear",
        final_rate=0.05,
        weight_decay=1e-2,
      ),
    ),
    together=40,
    at_once=40,
  )


def own() -> Config:
  """Our recipe over all feasible tasks: hours on two CPU cores."""
  return Config(tasks=("feasible",))


PRESETS = (own,)


def run(config: Config, workdir: str) -> Report:
  """Trains the automata of all tasks that are not done, and reports on all."""
  name = config.tasks[0]
  with endings.usage_errors():
    chosen = arc_tasks.choose(
      config.data,
      config.tasks,
      seed=config.seed,
      sample=config.sample,
      largest=config.largest,
      held_out=config.held_out,
    )
  folder = arc_store.folder(workdir)
  _train(config, chosen.tasks, folder)
  done = [t.name for t in chosen.tasks if arc_store.has(folder, t.name)]
  if not done:
    raise files.InputError(
      f"minutes={config.minutes} is too short to begin a task, and none was "
      "done before; give more, or leave it out"
    )
  return findings.report(
    findings.Found(
      rows=[arc_store.row(folder, name) for name in done],
      asked=len(chosen.tasks) + len(chosen.refused),
      tasks=name if name in arc_tasks.SETS else "names",
      data=config.data,
      held_out=config.held_out,
      arms=config.recipe.arms,
      parameters=parameters(config.model),
      updates=_updates(config),
      feasible=arc_tasks.count_feasible(config.data),
      refused=chosen.refused,
      picture=lambda name: arc_store.picture(folder, name),
    )
  )


def _train(config: Config, tasks, folder) -> None:
  """Until all are done, or the minutes are over."""
  left = [task for task in tasks if not arc_store.has(folder, task.name)]
  minutes = math.inf if config.minutes is None else config.minutes
  deadline = time.monotonic() + 60 * minutes
  rows = arc_rows.rows(
    config.model,
    config.recipe,
    left,
    seed=config.seed,
    together=config.together,
    at_once=config.at_once,
  )
  done = 0
  while time.monotonic() < deadline and (group := next(rows, None)):
    for row, picture in group:
      arc_store.save(folder, row, picture)
      done += 1
      solved = "solved" if row.attempts[1] else "not solved"
      progress.show(f"{row.name} {solved}  {done}/{len(left)} tasks")


def parameters(model: automaton.Config) -> int:
  init = functools.partial(automaton.init_params, model)
  shapes = jax.eval_shape(init, jax.random.key(0))
  return sum(x.size for x in jax.tree.leaves(shapes))


def _updates(config: Config) -> str:
  recipe = config.recipe
  each = " for each pair" if recipe.per_pair else ""
  return (
    f"{recipe.num_seeds} automata of each of {len(recipe.arms)} arms "
    f"({', '.join(recipe.arms)}), of at most {recipe.updates:,} updates{each} "
    f"and {recipe.trials} rollouts in each"
  )
