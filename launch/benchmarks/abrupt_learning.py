"""Many seeds of the abrupt-learning experiment in one program, or one by one.

The default experiment's base: 32 seeds, 500 steps, a test every 10 steps.
Seconds of all seeds count compilation. They are extended from shorter runs,
since every step costs the same.

- own programs: every run is compiled anew, as separate scripts are;
- own programs, tested at every step: as the official scripts do;
- one program, one by one: compiled once, then called for every seed;
- one program, n at once: `scan.sweep`, over all devices, n seeds under `vmap`.
"""

import time

import jax

from launch import timing
from launch.experiments import abrupt_learning
from trainers import optimizers, scan

CONFIG = abrupt_learning.Config()
SHORT, LONG = 10, 40  # steps, between which the cost of a step is taken
AT_ONCE = (1, 32)


def run() -> list[dict]:
  """Seconds of all seeds, and how they compare with runs on their own."""
  seeds, steps = CONFIG.num_seeds, CONFIG.base.num_steps
  compiling, step = _alone(CONFIG.eval_every)
  tested_compiling, tested_step = _alone(1)
  rows = {
    "own programs, tested at every step": seeds
    * (tested_compiling + steps * tested_step),
    "own programs": seeds * (compiling + steps * step),
    "one program, one by one": compiling + seeds * steps * step,
  }
  for n in AT_ONCE:
    rows[f"one program, {n} at once"] = _together(n)
  return [
    {
      "name": f"abrupt_learning/{name}",
      "seconds": seconds,
      "over own programs": seconds / rows["own programs"],
    }
    for name, seconds in rows.items()
  ]


def _alone(eval_every: int) -> tuple[float, float]:
  """Seconds of compiling one run, and of a step of it."""
  fn = train(CONFIG, LONG, eval_every)
  key = jax.random.key(0)
  start = time.perf_counter()
  compiled = jax.jit(fn).lower(key).compile()
  compiling = time.perf_counter() - start
  return compiling, timing.medians({"run": lambda: compiled(key)})["run"] / LONG


def _together(at_once: int) -> float:
  """Seconds of the sweep, by a line through two numbers of steps."""
  keys = jax.random.split(jax.random.key(0), CONFIG.num_seeds)
  seconds = []
  for num_steps in (SHORT, LONG):
    start = time.perf_counter()
    fn = train(CONFIG, num_steps, CONFIG.eval_every)
    scan.sweep(fn, keys, at_once=at_once)
    seconds.append(time.perf_counter() - start)
  step = (seconds[1] - seconds[0]) / (LONG - SHORT)
  return seconds[1] + (CONFIG.base.num_steps - LONG) * step


def train(config: abrupt_learning.Config, num_steps: int, eval_every: int):
  """A function `key -> evals` that trains the base for some steps."""
  problem = abrupt_learning.problem(config)
  tx = optimizers.make(config.base.optimizer, num_steps)

  def one(key):
    _, _, evals = scan.fit(problem, tx, key, num_steps, eval_every=eval_every)
    return evals

  return one
