"""What a pre-trained model is worth: the same training from two starts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from simplex.types import Params
from trainers import distributed, optimizers, progress, scan
from trainers.problem import Problem

STARTS = ("pretrained", "fresh")


@dataclasses.dataclass(frozen=True)
class Config:
  """Training on real text, from the pre-trained model and from scratch."""

  corpora: tuple[str, ...] = ("prose", "code")
  num_steps: int = 300
  eval_every: int = 20
  num_seeds: int = 5
  eval_windows: int = 256
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=2e-3, warmup_steps=20
  )


def from_two_starts(
  config: Config, problem: Problem, pretrained: Params, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
  """Bits on held-out text while training, over seeds.

  Args:
    config: lengths; the corpora are the caller's.
    problem: whose eval "held_out" has the metric "bits".
    pretrained: one of the two starts; the other is `problem.init`.
    seed: of the data and of the fresh starts.

  Returns:
    Start to steps, `[steps]`, and bits, `[seeds, steps]`.
  """
  tx = optimizers.make(config.optimizer, config.num_steps)

  def one(setting):
    start, key = setting
    started = problem._replace(init=lambda key: start)
    _, _, evals = scan.fit(
      started, tx, key, config.num_steps, eval_every=config.eval_every
    )
    return evals["held_out/bits"]

  keys = jax.random.split(jax.random.key(seed), config.num_seeds)
  fresh = jax.vmap(problem.init)(keys)
  starts = jax.tree.map(
    lambda a, b: np.concatenate([np.broadcast_to(a, b.shape), b]),
    distributed.to_host(pretrained),
    jax.device_get(fresh),
  )
  progress.show(f"fine-tuning from two starts, {config.num_seeds} seeds each")
  bits = scan.sweep(one, (starts, jnp.concatenate([keys, keys])))
  steps = np.arange(0, config.num_steps + 1, config.eval_every)
  parts = zip(STARTS, np.split(bits, 2), strict=True)
  return {name: (steps, x) for name, x in parts}
