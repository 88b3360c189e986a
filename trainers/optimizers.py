"""Optimisers and schedules: a small config that chooses among optax's."""

import dataclasses
import functools
import re
from typing import Literal

import jax
import optax

from trainers import row_adam

OPTIMIZERS = {
  "adamw": lambda rate, cfg: optax.adamw(
    rate, b1=cfg.b1, b2=cfg.b2, weight_decay=cfg.weight_decay, mask=_is_matrix
  ),
  "lion": lambda rate, cfg: optax.lion(
    rate, b1=cfg.b1, b2=cfg.b2, weight_decay=cfg.weight_decay, mask=_is_matrix
  ),
  "muon": lambda rate, cfg: optax.contrib.muon(
    rate,
    adam_b1=cfg.b1,
    adam_b2=cfg.b2,
    weight_decay=cfg.weight_decay,
    weight_decay_mask=_is_matrix,
  ),
  "row_adam": lambda rate, cfg: optax.chain(
    row_adam.scale_by_row_adam(cfg.b1, cfg.b2),
    optax.add_decayed_weights(cfg.weight_decay, _is_matrix),
    optax.scale_by_learning_rate(rate),
  ),
  "sgd": lambda rate, cfg: optax.sgd(rate, momentum=cfg.b1),
}


@dataclasses.dataclass(frozen=True)
class Config:
  """An optimiser, its schedule, and what happens to the gradient before it."""

  name: Literal["adamw", "lion", "muon", "row_adam", "sgd"] = "adamw"
  learning_rate: float = 1e-3  # peak
  schedule: Literal["constant", "cosine", "linear"] = "cosine"
  final_rate: float = 0.0  # to which it decays, as a share of the peak
  warmup_steps: int = 0
  weight_decay: float = 0.0  # of matrices; not of biases, gains and gates
  clip_norm: float = 1.0  # global norm of the gradient; 0 is off
  b1: float = 0.9
  b2: float = 0.999
  kernel_scale: float = 1.0  # muP: base width / width, for matrices only


def make(config: Config, num_steps: int) -> optax.GradientTransformation:
  """The chain: clip, optimise by the schedule, scale matrices for muP.

  Args:
    config: what to chain.
    num_steps: length of the run, at whose end the decay does.
  """
  parts = [OPTIMIZERS[config.name](schedule(config, num_steps), config)]
  if config.clip_norm:
    parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
  if config.kernel_scale != 1.0:
    parts.append(optax.masked(optax.scale(config.kernel_scale), _is_kernel))
  return optax.chain(*parts)


def schedule(config: Config, num_steps: int) -> optax.Schedule:
  """Linear warm-up to the peak, then the decay that `config` names."""
  decay_steps = max(num_steps - config.warmup_steps, 1)
  peak, last = config.learning_rate, config.final_rate
  decay = {
    "constant": optax.constant_schedule(peak),
    "cosine": optax.cosine_decay_schedule(peak, decay_steps, last),
    "linear": optax.linear_schedule(peak, last * peak, decay_steps),
  }[config.schedule]
  if not config.warmup_steps:
    return decay
  warmup = optax.linear_schedule(0.0, peak, config.warmup_steps)
  return optax.join_schedules([warmup, decay], [config.warmup_steps])


def _is_kernel(params):
  """True for matrices that act on activations, as opposed to embeddings."""
  return jax.tree.map_with_path(
    lambda path, _: getattr(path[-1], "key", None) == "kernel", params
  )


def _is_matrix(params):
  """True for matrices, by their names: scanned layers stack vectors too.

  An adapter's leaves are named by the path of a kernel: one matrix, or `a` and
  `b` below it. The magnitudes of DoRA, so named, are vectors.
  """
  named = re.compile(r"(?!.*magnitude/)(.*/)?(kernel(/[ab])?|embedding)")
  name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
  return jax.tree.map_with_path(
    lambda path, _: named.fullmatch(name(path)) is not None, params
  )
