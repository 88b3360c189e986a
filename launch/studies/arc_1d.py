"""1D-ARC: one automaton for all tasks, told each by its demonstrations.

The second mode of automata for ARC, after CAX (Faldor & Cully 2024,
https://arxiv.org/abs/2410.02651): rows of colours, three demonstrations and a
question to a task. The demonstrations stand in hidden channels of the state,
above the cells, and one residual rule must do what they show. CAX reports
60.12 % exact on 1D-ARC (https://github.com/khalil-research/1D-ARC).
"""

from collections.abc import Sequence
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import arc_1d_tasks
from launch.studies.arc_1d_tasks import COLOURS, DEMONSTRATIONS, Rows
from simplex.data import sources
from simplex.losses import grids
from simplex.models import automaton
from simplex.types import Array, Params
from trainers import optimizers, scan
from trainers.problem import Problem

CONTEXT = 2 * DEMONSTRATIONS * COLOURS  # channels in which demonstrations stand


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes: of the automaton beyond its context, and of its training."""

  memory: int = 20  # hidden channels that begin at 0
  perception_width: int = 48
  width: int = 96
  steps: int = 12
  num_steps: int = 8000
  batch_size: int = 8  # tasks
  packed: int = 4  # tasks in one long row, behind walls: padding costs time
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=4e-3, schedule="linear"
  )

  def __post_init__(self):
    for name in ("num_steps", "packed"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
    if self.batch_size < 1 or self.batch_size % self.packed:
      raise ValueError(
        f"batch_size={self.batch_size} is no multiple of packed={self.packed}"
      )

  @property
  def model(self) -> automaton.Config:
    return automaton.Config(
      num_colors=COLOURS,
      hidden_channels=CONTEXT + self.memory,
      perception_width=self.perception_width,
      width=self.width,
      steps=self.steps,
      temperature=None,
      residual=True,
    )


def paper() -> Config:
  """About the sizes of the notebook in CAX; it embeds the demonstrations."""
  return Config(
    memory=64,
    perception_width=128,
    width=256,
    steps=64,
    num_steps=100_000,
    batch_size=16,
    packed=1,
    optimizer=optimizers.Config(
      learning_rate=1e-3, schedule="linear", final_rate=0.1
    ),
  )


def begin(model: automaton.Config, inputs: Array, outputs: Array) -> Array:
  """States `[B, 1, X, C]`: the question, its demonstrations, zeros."""
  one_hot = lambda x: jax.nn.one_hot(x, COLOURS)
  shown = jnp.stack([inputs, outputs], 2)[:, :-1].reshape(
    len(inputs), -1, inputs.shape[-1]
  )
  context = jnp.moveaxis(one_hot(shown), 1, 2)
  context = context.reshape(*context.shape[:2], CONTEXT)
  question = automaton.init_state(model, inputs[:, -1])
  state = question.at[..., COLOURS : COLOURS + CONTEXT].set(context)
  return state[:, None]


def answers(
  config: Config, params: Params, inputs: Array, outputs: Array
) -> tuple[Array, Array]:
  """Logits of the colours after the last step, `[B, X, K]`, and after each.

  Args:
    config: sizes.
    params: of the automaton.
    inputs: rows, `[B, 4, X]`; the last is the question.
    outputs: rows, of which the last is not looked at.
  """
  model = config.model
  state, colours_TB1XK = automaton.rollout(
    model,
    params,
    begin(model, inputs, outputs),
    (inputs[:, -1] >= 0)[:, None],
  )
  return state[:, 0, :, :COLOURS], colours_TB1XK[:, :, 0]


def packed_width(config: Config, rows: Rows) -> int:
  """Of a long row: any task fits, and as many as are packed on average do."""
  mean = int(np.ceil(np.mean(_lengths(rows.inputs)))) + 1
  return max(rows.inputs.shape[-1], config.packed * mean)


def _lengths(inputs_N4X):
  return (inputs_N4X >= 0).sum(-1).max(-1)


def problem(config: Config, rows: Rows, width: int) -> Problem:
  """Random tasks, mirrored, with colours and demonstrations exchanged.

  Args:
    config: sizes.
    rows: to be trained on.
    width: of a long row; see `packed_width`.
  """
  pairs_N24X = jnp.stack([rows.inputs, rows.outputs], axis=1)

  def sample(key):
    keys = jax.random.split(key, config.packed)
    pairs_K24X, flips_K = jax.vmap(lambda key: _augmented(key, pairs_N24X))(
      keys
    )
    long_24W = _packed(pairs_K24X, flips_K, width)
    return {"inputs": long_24W[0], "outputs": long_24W[1]}

  def loss(params, batch, *, key, step):
    del key, step
    inputs, outputs = batch["inputs"], batch["outputs"]
    logits, _ = answers(config, params, inputs, outputs)
    right = outputs[:, -1]
    loss, metrics = grids.every_step(
      jax.nn.softmax(logits)[None], right, right >= 0
    )
    return loss, {"cells": metrics["cells"]}

  return Problem(
    init=functools.partial(automaton.init_params, config.model, height=1),
    loss=loss,
    source=sources.from_sampler(sample, config.batch_size // config.packed),
  )


def _augmented(key, pairs_N24X):
  """A task with other colours and order, and whether to mirror it."""
  task_key, order_key, flip_key, color_key = jax.random.split(key, 4)
  task = jax.random.randint(task_key, (), 0, len(pairs_N24X))
  order = jax.random.permutation(order_key, DEMONSTRATIONS)
  order = jnp.append(order, DEMONSTRATIONS)
  colors = jax.random.permutation(color_key, jnp.arange(1, COLOURS))
  colors = jnp.concatenate([jnp.array([0]), colors, jnp.array([-1])])
  return colors[pairs_N24X[task][:, order]], jax.random.bernoulli(flip_key)


def _packed(pairs_K24X, flips_K, width):
  """Tasks one after another, a wall after each; those that overflow are lost.

  The first always fits.
  """
  K = len(flips_K)
  lengths_K = _lengths(pairs_K24X[:, 0])
  ends_K = jnp.cumsum(lengths_K + 1)
  x_W = jnp.arange(width)
  k_W = jnp.minimum(jnp.searchsorted(ends_K, x_W, side="right"), K - 1)
  length_W = lengths_K[k_W]
  at_W = x_W - (ends_K[k_W] - length_W - 1)
  inside_W = (at_W < length_W) & (ends_K[k_W] <= width + 1)
  at_W = jnp.where(flips_K[k_W], length_W - 1 - at_W, at_W)
  cells_W24 = pairs_K24X[k_W, :, :, at_W]
  return jnp.moveaxis(jnp.where(inside_W[:, None, None], cells_W24, -1), 0, 2)


class Asked(NamedTuple):
  """Held-out tasks of a seed, and what its automaton answered.

  Attributes:
    rows: the tasks.
    steps: colours after each step of the question, `[T, N, X]`.
    exact: whether the last are right everywhere, `[N]`.
  """

  rows: Rows
  steps: np.ndarray
  exact: np.ndarray


def ask(config: Config, params: Params, rows: Rows) -> Asked:
  """Puts the questions of tasks to a trained automaton."""
  steps = np.asarray(_colours(config, params, rows.inputs, rows.outputs))
  outside = rows.inputs[:, -1] < 0
  exact = np.all((steps[-1] == rows.outputs[:, -1]) | outside, axis=-1)
  return Asked(rows, steps, exact)


@functools.partial(jax.jit, static_argnums=0)
def _colours(config, params, inputs, outputs):
  _, logits_TBXK = answers(config, params, inputs, outputs)
  return jnp.argmax(logits_TBXK, -1)


def run(
  config: Config, rows: Rows, seeds: Sequence[int]
) -> tuple[list[Asked], np.ndarray]:
  """Trains an automaton for each seed on nine tenths; asks it the rest.

  Returns:
    What each was asked, and the losses, `[S, num_steps]`.
  """
  width = packed_width(config, rows)
  parts = [arc_1d_tasks.split(rows, seed) for seed in seeds]
  trains = jax.tree.map(lambda *x: np.stack(x), *(train for train, _ in parts))

  def fit(setting):
    key, train = setting
    state, metrics, _ = scan.fit(
      problem(config, train, width),
      optimizers.make(config.optimizer, config.num_steps),
      key,
      config.num_steps,
    )
    return state.params, metrics["loss"]

  keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
  params, losses = scan.sweep(fit, (keys, trains))
  asked = [
    ask(config, jax.tree.map(lambda x, i=i: x[i], params), test)
    for i, (_, test) in enumerate(parts)
  ]
  return asked, np.asarray(losses)
