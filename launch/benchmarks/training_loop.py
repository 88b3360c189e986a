"""What the training loop adds to the compiled step it runs.

Measured with steps that take no time: what is added does not grow with a step,
and larger ones would hide it in their noise. The CPU time of the process is
right on a busy machine too.
"""

import tempfile
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.data import sources
from trainers import loop, sharding
from trainers.problem import Problem

STEPS = 2000  # between two looks at the clock
STEP_MS = 20.0  # the step in whose terms the overhead is told


class Time(NamedTuple):
  """Milliseconds of a step."""

  wall: float
  cpu: float


def run() -> list[dict]:
  """Milliseconds of a step, bare and in the loop, and the overhead.

  The loop writes metrics as by default, and a checkpoint in this time.
  """
  problem, tx = _problem(), optax.adam(1e-3)
  bare = [_bare(problem, tx)]
  looped = _looped(problem, tx)
  bare.append(_bare(problem, tx))  # before and after, so that drift shows
  wall, cpu = np.mean(bare, axis=0)
  row = lambda name, x: {"name": name, "ms": x.wall, "cpu_ms": x.cpu}
  return [
    row("bare step", bare[0]),
    row("step in loop.fit", looped),
    row("bare step again", bare[1]),
    {
      "name": f"overhead in percent of a step of {STEP_MS:.0f} ms",
      "ms": 100 * (looped.wall - wall) / STEP_MS,
      "cpu_ms": 100 * (looped.cpu - cpu) / STEP_MS,
      "at_most": 3.0,
    },
  ]


def _problem() -> Problem:
  """A linear regression in eight dimensions."""

  def sample(key):
    x_E = jax.random.normal(key, (8,))
    return {"x": x_E, "y": x_E.sum()}

  def loss(params, batch, *, key, step):
    del key, step
    return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2), {}

  init = lambda key: {"w": jax.random.normal(key, (8,))}
  return Problem(init, loss, sources.from_sampler(sample, 8))


def _bare(problem, tx) -> Time:
  mesh = sharding.make_mesh()
  with jax.set_mesh(mesh):
    run = loop.compile_run(problem, tx, loop.Config(), mesh)
    state, _ = jax.block_until_ready(run.step(run.init(jax.random.key(0))))
    throttle = loop.limit_ahead()
    start = _now()
    for _ in range(STEPS):
      state, metrics = run.step(state)
      throttle(metrics["loss"])
    jax.block_until_ready(state)
  return _per_step(start, _now())


def _looped(problem, tx) -> Time:
  """A step of `fit`, in which an eval looks at the clock twice."""
  seen = []

  def clock(params, key):
    del key
    some = jax.tree.leaves(params)[0].ravel()[0]  # so that it waits for a step
    jax.debug.callback(lambda _: seen.append(_now()), some)
    return {}

  problem = problem._replace(evals={"clock": clock})
  config = loop.Config(
    num_steps=2 * STEPS + 1, eval_every=STEPS, save_every=STEPS * 3 // 2
  )
  with tempfile.TemporaryDirectory() as workdir:
    loop.fit(problem, tx, config, workdir)
  every = len(seen) // 4  # at steps 0, STEPS, 2 STEPS and the end
  return _per_step(seen[every], seen[2 * every])


def _now() -> tuple[float, float]:
  return time.perf_counter(), time.process_time()


def _per_step(start, end) -> Time:
  return Time(*(1e3 * (np.array(end) - np.array(start)) / STEPS))
