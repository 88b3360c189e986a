"""A small run to be killed, in a process forked from one that has imported JAX.

A fork costs a few milliseconds, an import of JAX seconds.
"""

from collections.abc import Callable
import multiprocessing
import os
import pathlib
import socket
import sys
from typing import Any

import jax
import optax

from tests.trainers import toy
from trainers import interrupts, loop

CONFIG = loop.Config(num_steps=200, log_every=1, eval_every=50, save_every=20)
TX = optax.adam(0.01)
PREEMPTED = 143


def start(fn: Callable[..., Any], *args: Any) -> multiprocessing.Process:
  """Begins `fn(*args)`, of which the first is a workdir, in a new process."""
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([__name__])
  process = context.Process(target=_run, args=(fn, *args))
  process.start()
  return process


def end(fn: Callable[..., Any], *args: Any) -> int:
  """Runs `fn(*args)` to its end; returns the exit code."""
  process = start(fn, *args)
  process.join(300)
  return process.exitcode


def log(workdir: pathlib.Path) -> pathlib.Path:
  """The file with all that runs in `workdir` have said."""
  return workdir.with_suffix(".log")


def train(
  workdir: pathlib.Path, config: loop.Config = CONFIG, num_devices: int = 2
) -> None:
  """Trains the toy problem in `workdir`, or continues there."""
  os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
  jax.config.update("jax_num_cpu_devices", num_devices)
  jax.config.update("jax_compilation_cache_dir", str(workdir.parent / "cache"))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  loop.fit(toy.problem(), TX, config, str(workdir))


def train_as_one_of_many(workdir: pathlib.Path, config: loop.Config) -> None:
  """The same by the rules for many processes, of which there is one."""
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
  jax.distributed.initialize(f"localhost:{port}", 1, 0)
  train(workdir, config)


def _run(fn, workdir, *args):
  with log(workdir).open("a") as file:
    os.dup2(file.fileno(), sys.stderr.fileno())
  try:
    fn(workdir, *args)
  except interrupts.Preempted as stop:
    print(stop, file=sys.stderr)
    sys.exit(PREEMPTED)
