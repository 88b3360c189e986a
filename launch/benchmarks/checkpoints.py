"""What saving costs the loop, and how soon a stopped run is back."""

import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import jax
import jax.numpy as jnp
import optax

from launch.experiments import random_computation
from trainers import checkpoints, loop, metrics, optimizers
from trainers.problem import Problem, TrainState
from trainers.step import init_state

MEGABYTES = 100
ROUNDS = 5
FIRST = 20  # steps before the run is stopped


def run() -> list[dict]:
  """Milliseconds that a save blocks, then seconds of a resumed run."""
  return [*_save(), *_resume()]


def _save() -> list[dict]:
  """One state of 100 MB, written where temporary files are."""
  state = _state()
  blocked, synced, written = [], [], []
  with tempfile.TemporaryDirectory() as workdir:
    with (
      checkpoints.open_manager(workdir, 2) as manager,
      metrics.Writer(workdir) as writer,
    ):
      for step in range(1, ROUNDS + 2):
        state = state._replace(step=jnp.asarray(step))
        jax.block_until_ready(state)
        writer.write(step, {"loss": 0.0})
        times = [time.perf_counter()]
        writer.sync(step, {"loss": 0.0})
        times.append(time.perf_counter())
        checkpoints.save(manager, state)
        times.append(time.perf_counter())
        manager.wait_until_finished()
        times.append(time.perf_counter())
        for kind, i in ((synced, 0), (blocked, 1), (written, 2)):
          kind.append(1e3 * (times[i + 1] - times[i]))
  middle = lambda ms: statistics.median(ms[1:])
  what = f"of {MEGABYTES} MB"
  return [
    {"name": f"save {what}, blocked", "ms": middle(blocked), "at_most": 50.0},
    {"name": f"the first save {what}, blocked", "ms": blocked[0]},
    {"name": "metrics on the disk, blocked", "ms": middle(synced)},
    {"name": f"save {what}, in the background", "ms": middle(written)},
  ]


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
    wall, cpu = _train(workdir, FIRST + 1)
  return [
    {
      "name": "a new process resumes, makes a step and saves",
      "ms": 1e3 * wall,
      "cpu_ms": 1e3 * cpu,
      "at_most": 5000.0,
    }
  ]


def _train(workdir: str, num_steps: int) -> tuple[float, float]:
  """Seconds of a process that trains, and CPU seconds."""
  code = f"from {__name__} import train; train({workdir!r}, {num_steps})"
  start, before = time.perf_counter(), _children()
  subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
  return time.perf_counter() - start, _children() - before


def _children() -> float:
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


def train(workdir: str, num_steps: int) -> None:
  """What the new process does: the default run, with compiled programs kept."""
  jax.config.update("jax_num_cpu_devices", 2)
  cache = str(pathlib.Path(workdir) / "cache")
  jax.config.update("jax_compilation_cache_dir", cache)
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  config = random_computation.Config()
  tx = optimizers.make(config.optimizer, config.pretrain.num_steps)
  lengths = loop.Config(num_steps=num_steps)
  loop.fit(random_computation.problem(config), tx, lengths, workdir)
