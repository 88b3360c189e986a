"""The training loop: sharded, resumable, and the only one with a disk."""

import collections
from collections.abc import Callable
import dataclasses
import functools
import pathlib
from typing import NamedTuple

import jax
from jax.sharding import Mesh
import optax

from simplex.types import Array, Key, Metrics
from trainers import (
  attempts,
  checkpoints,
  flops,
  interrupts,
  metrics,
  profiling,
  progress,
  rehearsal,
  sharding,
)
from trainers.problem import Problem, TrainState
from trainers.step import evaluate, init_state, train_step

# Steps that a device may be given ahead, enough that it never waits. With more
# than 32, collectives between CPU devices wait for each other for ever.
AHEAD = 4


@dataclasses.dataclass(frozen=True)
class Config:
  """How long to train, and how often to look. Periods are in steps.

  A batch is computed in `accumulate` parts, one after another, whose gradients
  are summed: each part then needs that much less memory.
  """

  num_steps: int = 1000
  log_every: int = 10
  eval_every: int = 100
  save_every: int = 1000
  keep_checkpoints: int = 2
  accumulate: int = 1

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if value < 1:
        raise ValueError(f"{field.name}={value} must be at least 1")


def fit(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  config: Config,
  workdir: str,
  *,
  seed: int = 0,
) -> TrainState:
  """Trains until `config.num_steps`, continuing from `workdir` if it can.

  A run that was stopped and continues gives the same numbers, bit for bit, as
  one that was not.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    config: lengths and periods.
    workdir: folder for checkpoints and metrics; created if absent.
    seed: decides the initial parameters, the data and the noise.

  Returns:
    The state after the last step.

  Raises:
    FloatingPointError: the loss is not finite; checkpoints are from before.
    KeyboardInterrupt: Ctrl-C; the step is finished and saved first.
  """
  if instead := rehearsal.instead():
    return instead(rehearsal.Training(problem, optimizer, config))
  root = pathlib.Path(workdir)
  root.mkdir(parents=True, exist_ok=True)
  mesh = sharding.ambient_mesh()
  ideal = flops.ideal_step_seconds(problem, mesh)
  run = compile_run(problem, optimizer, mesh, accumulate=config.accumulate)
  with (
    jax.set_mesh(mesh),
    interrupts.deferred() as interrupted,
    checkpoints.open_manager(workdir, config.keep_checkpoints) as manager,
  ):
    state = checkpoints.restore(manager, run.init(jax.random.key(seed)))
    start = int(state.step)
    throttle = limit_ahead()
    with (
      profiling.profiled(run.step, root) as take_step,
      attempts.recorded(root, tokens=run.tokens, ideal_seconds=ideal),
      progress.meter(root.name, config.num_steps, run.tokens, ideal) as on_row,
      metrics.Writer(workdir, step=start, on_row=on_row) as writer,
    ):
      for step in range(start, config.num_steps):
        if step % config.eval_every == 0:
          writer.write(step, run.evaluate(state))
        state, step_metrics = take_step(state)
        throttle(step_metrics["loss"])
        stop = interrupted()
        due = stop or (step + 1) % config.save_every == 0
        if due or step % config.log_every == 0:
          writer.write(step, step_metrics)
        if due:
          writer.flush()  # raises before a broken state is saved
          checkpoints.save(manager, state)
        if stop:
          raise KeyboardInterrupt(f"stopped and saved after step {step + 1}")
      writer.write(config.num_steps, run.evaluate(state))
    checkpoints.save(manager, state)
  return state


def limit_ahead() -> Callable[[Array], None]:
  """Returns a function to be told of each step's result.

  It waits until no more than `AHEAD` of them are unfinished.
  """
  unfinished = collections.deque()

  def throttle(result):
    unfinished.append(result)
    if len(unfinished) > AHEAD:
      unfinished.popleft().block_until_ready()

  return throttle


class Run(NamedTuple):
  """The compiled functions of a run, and the size of its batch.

  Attributes:
    init: `key -> state`, sharded.
    step: `state -> (state, metrics)`; the old state is given up.
    evaluate: `state -> metrics`.
    tokens: tokens in a batch; 0 if it has none.
  """

  init: Callable[[Key], TrainState]
  step: Callable[[TrainState], tuple[TrainState, Metrics]]
  evaluate: Callable[[TrainState], Metrics]
  tokens: int


def compile_run(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  mesh: Mesh,
  *,
  accumulate: int = 1,
) -> Run:
  """Places a problem on a mesh; functions compile when first called.

  For `accumulate` see `train_step`.
  """
  init = functools.partial(init_state, problem, optimizer)
  shapes = jax.eval_shape(init, jax.random.key(0))
  batch, _ = jax.eval_shape(problem.source.next, shapes.source)
  sharding.check_batch(batch, mesh, accumulate)
  shardings = sharding.of_state(shapes, mesh)
  problem = sharding.place(problem, mesh)
  return Run(
    init=jax.jit(init, out_shardings=shardings),
    step=jax.jit(
      functools.partial(train_step, problem, optimizer, accumulate=accumulate),
      donate_argnums=0,
      out_shardings=(shardings, None),
    ),
    evaluate=jax.jit(functools.partial(evaluate, problem)),
    tokens=batch["tokens"].size if "tokens" in batch else 0,
  )
