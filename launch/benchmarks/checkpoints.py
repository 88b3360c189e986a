"""What saving costs the loop, and how soon a stopped run is back."""

from collections.abc import Callable, Sequence
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from launch.experiments import random_computation
from trainers import checkpoints, loop, metrics, optimizers
from trainers.problem import Problem, TrainState
from trainers.step import init_state

MEGABYTES = 100
ROUNDS = 5
FIRST = 20  # steps before the run is stopped


def run() -> list[dict]:
  """Milliseconds that a save blocks the loop, and that a resumed run takes.

  `cpu_ms` is right on a busy machine too: of the thread that runs the loop for
  a save, of the process for a resumed run.
  """
  return [*_save(), *_resume()]


def _save() -> list[dict]:
  """A state of 100 MB in 99 arrays, written where temporary files are."""
  state = _state()
  synced, blocked, written = [], [], []
  with tempfile.TemporaryDirectory() as workdir:
    with (
      checkpoints.open_manager(workdir, 2) as manager,
      metrics.Writer(workdir) as writer,
    ):
      for step in range(1, ROUNDS + 2):
        state = state._replace(step=jnp.asarray(step))
        jax.block_until_ready(state)
        writer.write(step, {"loss": 0.0})
        synced.append(_time(writer.sync, step, {"loss": 0.0}))
        blocked.append(_time(checkpoints.save, manager, state))
        written.append(_time(manager.wait_until_finished))
  what = f"of {MEGABYTES} MB"
  return [
    _row(f"save {what}, blocked", blocked[1:], at_most=50.0),
    _row(f"the first save {what}, blocked", blocked[:1]),
    _row("metrics on the disk, blocked", synced[1:]),
    _row(f"save {what}, in the background", written[1:]),
  ]


def _time(fn: Callable[..., object], *args: object) -> tuple[float, float]:
  """Seconds of a call, and CPU seconds of this thread in it."""
  wall, cpu = time.perf_counter(), time.thread_time()
  fn(*args)
  return time.perf_counter() - wall, time.thread_time() - cpu


def _row(name: str, seconds: Sequence[tuple[float, float]], **more) -> dict:
  wall, cpu = 1e3 * np.median(seconds, axis=0)
  return {"name": name, "ms": float(wall), "cpu_ms": float(cpu), **more}


def _state() -> TrainState:
  """Parameters with the two moments of Adam, in arrays of 1 MB."""
  shape = (MEGABYTES // 3, 2**18)
  init = lambda key: list(jax.random.normal(key, shape))
  source = random_computation.problem(random_computation.tiny()).source
  problem = Problem(init, None, source)
  return jax.jit(lambda key: init_state(problem, optax.adam(1e-3), key))(
    jax.random.key(0)
  )


def _resume() -> list[dict]:
  """Stops the default run, and continues it in a new process by one step."""
  with tempfile.TemporaryDirectory() as workdir:
    _train(workdir, FIRST)
    times = _train(workdir, FIRST + 1)
  name = "a new process resumes, and has made a step"
  return [_row(name, [times], at_most=5000.0)]


def _train(workdir: str, num_steps: int) -> tuple[float, float]:
  """Seconds from the start of a process to its last step, and CPU seconds."""
  code = f"from {__name__} import train; train({workdir!r}, {num_steps})"
  start = time.time()
  done = subprocess.run(
    [sys.executable, "-c", code], check=True, capture_output=True, text=True
  )
  end, cpu = map(float, done.stdout.split()[-2:])
  return end - start, cpu


def train(workdir: str, num_steps: int) -> None:
  """What the new process does: the default run, with compiled programs kept.

  It ends with two numbers: when its last step was done, and the CPU seconds it
  had used by then.
  """
  jax.config.update("jax_num_cpu_devices", 2)
  cache = str(pathlib.Path(workdir) / "cache")
  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  config = random_computation.Config()
  tx = optimizers.make(config.optimizer, config.pretrain.num_steps)

  def clock(params, key):
    del key
    some = jax.tree.leaves(params)[0].ravel()[0]  # so that it waits for a step
    tell = lambda _: print(time.time(), time.process_time(), flush=True)
    jax.debug.callback(tell, some)
    return {}

  problem = random_computation.problem(config)._replace(evals={"clock": clock})
  loop.fit(problem, tx, loop.Config(num_steps=num_steps), workdir)
