"""Many seeds of the abrupt-learning experiment in one program, or one by one.

The default experiment's base: 32 seeds, 500 steps, a test every 10 steps.
Seconds count compilation. They are extended by a line from a short and a longer
run of each kind, since what is measured is the same at every step.

- own programs: every run is compiled anew, as separate scripts are;
- own programs, tested at every step: as the official scripts do;
- one program, one by one: compiled once, then called for every seed;
- one program, n at once: `scan.sweep`, over all devices, n seeds under `vmap`.
"""

import time

import jax

from launch.experiments import abrupt_learning
from trainers import optimizers, scan

CONFIG = abrupt_learning.Config()
SHORT, LONG = 10, 30  # steps, between which the cost of a step is taken
AT_ONCE = (1, 32)


def run() -> list[dict]:
  """Seconds of all seeds, and how they compare with runs on their own."""
  keys = jax.random.split(jax.random.key(0), CONFIG.num_seeds)
  steps = CONFIG.base.num_steps
  one = _line(lambda fn: jax.jit(fn)(keys[0]))
  tested = _line(lambda fn: jax.jit(fn)(keys[0]), eval_every=1)
  seeds = len(keys)
  rows = {
    "own programs": seeds * one(steps),
    "own programs, tested at every step": seeds * tested(steps),
    "one program, one by one": one(0) + seeds * (one(steps) - one(0)),
  }
  for n in AT_ONCE:
    together = _line(lambda fn, n=n: scan.sweep(fn, keys, at_once=n))
    rows[f"one program, {n} at once"] = together(steps)
  reference = rows["own programs"]
  return [
    {
      "name": f"abrupt_learning/{name}",
      "seconds": seconds,
      "over own programs": seconds / reference,
    }
    for name, seconds in rows.items()
  ]


def _line(call, eval_every: int = CONFIG.eval_every):
  """Seconds by number of steps, compilation included, as a function."""
  seconds = {}
  for num_steps in (SHORT, LONG):
    fn = train(CONFIG, num_steps, eval_every)
    start = time.perf_counter()
    jax.block_until_ready(call(fn))
    seconds[num_steps] = time.perf_counter() - start
  slope = (seconds[LONG] - seconds[SHORT]) / (LONG - SHORT)
  return lambda num_steps: seconds[SHORT] + (num_steps - SHORT) * slope


def train(config: abrupt_learning.Config, num_steps: int, eval_every: int):
  """A function `key -> evals` that trains the base for some steps."""
  problem = abrupt_learning.problem(config)
  tx = optimizers.make(config.base.optimizer, num_steps)

  def one(key):
    _, _, evals = scan.fit(problem, tx, key, num_steps, eval_every=eval_every)
    return evals

  return one
