"""The training loop: sharded, resumable, and the only one with a disk."""

import collections
from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import functools
import pathlib
import time
from typing import Literal, NamedTuple

import jax
from jax.experimental import multihost_utils
from jax.sharding import Mesh
import numpy as np
import optax

from simplex.types import Key, Metrics
from trainers import (
  attempts,
  checkpoints,
  flops,
  guard,
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

  Attributes:
    num_steps: updates in the whole run.
    log_every: a row of metrics is written.
    eval_every: the problem's evals are run.
    save_every: a checkpoint is written, in the background.
    save_seconds: one is also written when the last is that old.
    keep_checkpoints: older ones are removed.
    on_non_finite: what is done when a loss or an update is not finite: the run
      is stopped, or the step is undone and counted.
    max_skipped: the run is stopped after more such steps in a row, as seen
      when a row is written or a checkpoint is due.
    accumulate: parts that a batch is computed in, one after another, whose
      gradients are summed: each then needs that much less memory.
  """

  num_steps: int = 1000
  log_every: int = 10
  eval_every: int = 100
  save_every: int = 1000
  save_seconds: float = 600.0
  keep_checkpoints: int = 2
  on_non_finite: Literal["stop", "skip"] = "stop"
  max_skipped: int = 10
  accumulate: int = 1

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      if field.type is int and value < 1:
        raise ValueError(f"{field.name}={value} must be at least 1")
    if not self.save_seconds > 0:
      raise ValueError(f"save_seconds={self.save_seconds} must be above 0")
    if self.on_non_finite not in ("stop", "skip"):
      raise ValueError(
        f"on_non_finite={self.on_non_finite!r} is not one of ['stop', 'skip']"
      )


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
  one that was not; on another number of devices, to rounding.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    config: lengths and periods.
    workdir: folder for checkpoints and metrics; created if absent.
    seed: decides the initial parameters, the data and the noise.

  Returns:
    The state after the last step.

  Raises:
    ValueError: the batch does not divide among the devices.
    FloatingPointError: a loss or an update is not finite; checkpoints are from
      before.
    KeyboardInterrupt: Ctrl-C; the step is finished and saved first.
    interrupts.Preempted: SIGTERM or a notice of preemption; likewise.
    checkpoints.SaveError: a checkpoint could not be written. It may be one
      that was begun earlier; those before it are whole.
    files.InputError: the checkpoints are damaged, or of another model.
    OSError: the metrics could not be written.
  """
  if instead := rehearsal.instead():
    return instead(rehearsal.Training(problem, optimizer, config))
  root = pathlib.Path(workdir)
  root.mkdir(parents=True, exist_ok=True)
  mesh = sharding.ambient_mesh()
  ideal = flops.ideal_step_seconds(problem, mesh)
  run = compile_run(problem, optimizer, config, mesh)
  with (
    jax.set_mesh(mesh),
    interrupts.deferred() as why_stop,
    checkpoints.open_manager(workdir, config.keep_checkpoints) as manager,
  ):
    state = checkpoints.restore(manager, run.like, config.keep_checkpoints)
    if state is None:
      state = run.init(jax.random.key(seed))
    save = functools.partial(checkpoints.save, manager)
    with _watched(run, config, int(state.step), root, ideal) as (run, writer):
      state = _steps(run, config, state, writer, save, why_stop)
      writer.write(config.num_steps, run.evaluate(state))
  return state


@contextlib.contextmanager
def _watched(
  run: "Run", config: Config, step: int, root: pathlib.Path, ideal: float
) -> Iterator[tuple["Run", metrics.Writer]]:
  """The run, whose steps may be profiled, and the writer of its metrics."""
  with (
    profiling.profiled(run.step, root) as take_step,
    attempts.recorded(root, step=step, tokens=run.tokens, ideal_seconds=ideal),
    progress.meter(root.name, config.num_steps, run.tokens, ideal) as on_row,
    metrics.Writer(
      str(root),
      step=step,
      max_skipped=config.max_skipped * (config.on_non_finite == "skip"),
      on_row=on_row,
    ) as writer,
  ):
    yield run._replace(step=take_step), writer


def _steps(
  run: "Run",
  config: Config,
  state: TrainState,
  writer: metrics.Writer,
  save: Callable[[TrainState], None],
  why_stop: Callable[[int], interrupts.Why],
) -> TrainState:
  """All steps from `state` on; the last is saved."""
  throttle, save_is_due = limit_ahead(), _save_is_due(config)
  for step in range(int(state.step), config.num_steps):
    if step % config.eval_every == 0:
      writer.write(step, throttle(run.evaluate(state)))
    state, step_metrics = run.step(state)
    throttle(step_metrics)
    if step % config.log_every == 0:
      writer.write(step, step_metrics)
    stop = why_stop(step + 1)
    if save_is_due(step + 1) or stop:
      writer.sync(step, step_metrics)  # raises if the state is broken
      save(state)
    if stop:
      raise stop(f"stopped and saved after step {step + 1}")
  return state


def _save_is_due(config: Config) -> Callable[[int], bool]:
  """Returns a function to be asked after each step, by every process."""
  saved = time.monotonic()

  def is_due(step):
    nonlocal saved
    late = time.monotonic() - saved >= config.save_seconds
    if jax.process_count() > 1:
      # Clocks differ: that of the first process counts. To ask it costs a wait.
      late = step % config.log_every == 0 and bool(
        multihost_utils.broadcast_one_to_all(np.array(late))
      )
    due = late or step % config.save_every == 0 or step == config.num_steps
    saved = time.monotonic() if due else saved
    return due

  return is_due


def limit_ahead() -> Callable[[Metrics], Metrics]:
  """Returns a function to be told of each step's metrics, which it returns.

  It waits until no more than `AHEAD` of them are unfinished; none, where CPUs
  of several processes speak through gloo: programs that overlap then may take
  all threads, and wait for each other for ever.
  """
  by_gloo = jax.distributed.is_initialized() and jax.default_backend() == "cpu"
  ahead = 0 if by_gloo else AHEAD
  unfinished = collections.deque()

  def throttle(result):
    unfinished.append(result)
    if len(unfinished) > ahead:
      jax.block_until_ready(unfinished.popleft())
    return result

  return throttle


class Run(NamedTuple):
  """The compiled functions of a run, and the size of its batch.

  Attributes:
    like: shapes, types and shardings of the state.
    init: `key -> state`, sharded.
    step: `state -> (state, metrics)`; the old state is given up.
    evaluate: `state -> metrics`.
    tokens: tokens in a batch; 0 if it has none.
  """

  like: TrainState
  init: Callable[[Key], TrainState]
  step: Callable[[TrainState], tuple[TrainState, Metrics]]
  evaluate: Callable[[TrainState], Metrics]
  tokens: int


def compile_run(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  config: Config,
  mesh: Mesh,
) -> Run:
  """Places a problem on a mesh; functions compile when first called.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    config: of which a step is told `accumulate` and `on_non_finite`.
    mesh: of all devices.

  Raises:
    ValueError: the batch does not divide among the devices.
  """
  init = functools.partial(init_state, problem, optimizer)
  shapes = jax.eval_shape(init, jax.random.key(0))
  batch, _ = jax.eval_shape(problem.source.next, shapes.source)
  sharding.check_batch(batch, mesh, config.accumulate)
  shardings = sharding.of_state(shapes, mesh)
  problem = sharding.place(problem, mesh)
  step = functools.partial(
    train_step, problem, optimizer, accumulate=config.accumulate
  )
  if config.on_non_finite == "skip":
    step = guard.undo_broken(step)
  return Run(
    like=jax.tree.map(
      lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
      shapes,
      shardings,
    ),
    init=jax.jit(init, out_shardings=shardings),
    step=jax.jit(step, donate_argnums=0, out_shardings=(shardings, None)),
    evaluate=jax.jit(functools.partial(evaluate, problem)),
    tokens=batch["tokens"].size if "tokens" in batch else 0,
  )
