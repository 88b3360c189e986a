"""What the training loop adds to the compiled step it runs."""

import dataclasses
import tempfile
import time

import jax

from launch.experiments import random_computation
from trainers import loop, metrics, optimizers, sharding

SHORT, LONG = 100, 1000  # steps, between which time is taken


def run() -> list[dict]:
  """Milliseconds of a step, bare and in the loop, and the overhead."""
  config = random_computation.Config()
  config = dataclasses.replace(
    config,
    batch_size=24,  # steps of about 20 ms on two cores
    generator=dataclasses.replace(
      config.generator, rows_per_machine=4, bank_rows=320
    ),
  )
  problem = random_computation.problem(config)
  tx = optimizers.make(config.optimizer, LONG)
  bare = [_bare(problem, tx)]
  looped = _looped(problem, tx)
  bare.append(_bare(problem, tx))  # before and after, so that drift shows
  mean = sum(bare) / 2
  return [
    {"name": "bare step", "ms": 1e3 * bare[0]},
    {"name": "step in loop.fit", "ms": 1e3 * looped},
    {"name": "bare step again", "ms": 1e3 * bare[1]},
    {"name": "overhead of the loop", "percent": 100 * (looped / mean - 1)},
  ]


def _bare(problem, tx) -> float:
  mesh = sharding.make_mesh()
  with jax.set_mesh(mesh):
    run = loop.compile_run(problem, tx, mesh)
    state, _ = jax.block_until_ready(run.step(run.init(jax.random.key(0))))
    throttle = loop.limit_ahead()
    start = time.perf_counter()
    for _ in range(LONG - SHORT):
      state, metrics = run.step(state)
      throttle(metrics["loss"])
    jax.block_until_ready(state)
  return (time.perf_counter() - start) / (LONG - SHORT)


def _looped(problem, tx) -> float:
  """Seconds per step of `fit`, its logs, evaluations and metrics included."""
  config = loop.Config(num_steps=LONG + 1, save_every=LONG)
  with tempfile.TemporaryDirectory() as workdir:
    loop.fit(problem, tx, config, workdir)
    steps, seconds = metrics.read(workdir, "seconds")
  at = dict(zip(steps.tolist(), seconds.tolist(), strict=True))
  return (at[LONG] - at[SHORT]) / (LONG - SHORT)
