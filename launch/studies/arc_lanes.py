"""Automata of ARC tasks: what a lane of training is, and what it answers."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.data import grid_batches, grid_symmetries, grids
from simplex.losses import grids as losses
from simplex.models import automaton
from simplex.types import Array, Params
from trainers import lanes, optimizers


class Arm(NamedTuple):
  """The maps with which the pairs of a task are multiplied.

  Attributes:
    group: a key of `grid_symmetries.GROUPS`.
    recolour: whether exchangeable colours are exchanged.
    shift: whether content is moved where it has room.
  """

  group: str = "identity"
  recolour: bool = False
  shift: bool = False

  @property
  def turns(self) -> tuple[int, ...]:
    return grid_symmetries.GROUPS[self.group]


ARMS = {
  "plain": Arm(),
  "colours": Arm(recolour=True),
  "shifts": Arm(shift=True),
  "mirrors": Arm("columns", recolour=True),
  "dihedral": Arm("dihedral"),
  "dihedral_colours": Arm("dihedral", recolour=True),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a task's automata are trained, and who answers.

  Attributes:
    arms: keys of `ARMS`; the first that fits a task is believed first.
    num_seeds: automata of each arm.
    updates: of each automaton.
    per_pair: whether `updates` is for each training pair of the task.
    mixed: whether the rollouts of one update are of random pairs; else all are
      of one pair, and the pairs take turns.
    trials: rollouts of one update, at most.
    cells: padded cells of one update, at most, beyond the first rollout; large
      grids get fewer rollouts.
    steps_per_side: steps of a rollout for each row of its padded grid, where
      that is more than the automaton's `steps`.
    optimizer: of every automaton.
    chunk: updates between two looks at whether a lane fits its pairs.
    patience: looks in a row at which it fits, and then it ends; 0 is never.
  """

  arms: tuple[str, ...] = ("dihedral_colours", "plain")
  num_seeds: int = 3
  updates: int = 1000
  per_pair: bool = False
  mixed: bool = True
  trials: int = 4
  cells: int = 1000
  steps_per_side: float = 0.8
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=5e-3, schedule="linear", weight_decay=1e-2
  )
  chunk: int = 100
  patience: int = 4

  def __post_init__(self):
    if unknown := set(self.arms) - set(ARMS):
      raise ValueError(f"arms={sorted(unknown)} are not among {list(ARMS)}")
    for name in ("num_seeds", "updates", "trials", "cells", "chunk"):
      if getattr(self, name) < 1:
        raise ValueError(f"{name}={getattr(self, name)} must be at least 1")
    if not self.arms:
      raise ValueError("arms is empty; at least one has to answer")
    if self.updates % self.chunk:
      raise ValueError(f"chunk={self.chunk} must divide updates={self.updates}")

  def rollouts(self, side: int) -> int:
    """Of one update, on grids padded to `side`."""
    return max(1, min(self.trials, self.cells // side**2))

  def steps(self, least: int, side: int) -> int:
    """Of a rollout, on grids padded to `side`."""
    return max(least, round(self.steps_per_side * side))


class Lane(NamedTuple):
  """What one automaton is trained on: pairs, and the maps of its arm."""

  pairs: grid_batches.Padded
  turns: Array  # [8], repeated where the arm has fewer
  recolour: Array
  shift: Array


def lane(task: grids.Task, arm: str, side: int, count: int) -> Lane:
  """The lane of a task and an arm, padded to `count` pairs of side `side`."""
  chosen = ARMS[arm]
  free_K = grid_symmetries.exchangeable(task)
  return Lane(
    grid_batches.pad(task.train, side, count, free_K),
    np.resize(np.array(chosen.turns, np.int32), grid_symmetries.DIHEDRAL),
    np.bool_(chosen.recolour),
    np.bool_(chosen.shift),
  )


@functools.lru_cache(maxsize=16)  # so that groups of like tasks share programs
def trainer(
  model: automaton.Config,
  recipe: Recipe,
  side: int,
  num_steps: int,
  at_once: int = 1,
) -> lanes.Trainer:
  """What the lanes of one padded size have in common."""
  steps = recipe.steps(model.steps, side)
  return lanes.Trainer(
    init=functools.partial(automaton.init_params, model),
    loss=functools.partial(_loss, model, recipe, steps),
    fits=functools.partial(_fits, model, steps),
    optimizer=optimizers.make(recipe.optimizer, num_steps),
    num_steps=num_steps,
    chunk=recipe.chunk,
    patience=recipe.patience,
    at_once=at_once,
  )


def _loss(model, recipe, steps, params, data, *, key, step):
  """Of rollouts of mapped pairs, in which random cells hold back."""
  pairs = data.pairs
  B = recipe.rollouts(pairs.input_NYX.shape[-1])
  noise_key, run_key = jax.random.split(key)
  # All at once: each call to the generator costs a second to compile.
  noise_BN = jax.random.uniform(noise_key, (B, 2 + grid_batches.NOISE))
  drop_B, which_B = noise_BN[:, 0] * model.max_drop, noise_BN[:, 1]
  n_B = jnp.full(B, step % pairs.count)
  if recipe.mixed:
    n_B = (which_B * pairs.count).astype(jnp.int32)

  def draw(noise_N, n):
    change = grid_batches.random_map(
      noise_N, pairs, n, data.turns, recolour=data.recolour, shift=data.shift
    )
    return grid_batches.example(pairs, n, change)

  examples = jax.vmap(draw)(noise_BN[:, 2:], n_B)
  _, right_TBYX = automaton.rollout(
    model,
    params,
    automaton.init_state(model, examples.input_YX),
    examples.mask_YX,
    run_key,
    steps=steps,
    drop=drop_B,
    targets_YX=examples.output_YX,
  )
  return losses.nats(right_TBYX, examples.mask_YX), {}


def _fits(model, steps, params, data):
  """Whether all pairs, as they are, come out right when all cells fire."""
  pairs = data.pairs
  side = pairs.input_NYX.shape[-1]
  mask_NYX = jax.vmap(lambda size: grid_batches.mask(side, size))(pairs.size_N2)
  state = automaton.init_state(model, pairs.input_NYX)
  last, _ = automaton.rollout(model, params, state, mask_NYX, steps=steps)
  colours = last[..., : model.num_colors]
  exact = losses.accuracy(colours, pairs.output_NYX, mask_NYX)["exact"]
  return exact == 1


class Question(NamedTuple):
  """A padded grid, its size, and for how many steps an automaton runs."""

  grid_YX: np.ndarray
  size: np.ndarray
  steps: int


def question(
  grid_YX: np.ndarray, task: grids.Task, steps: int, side: int
) -> Question:
  """Steps grow with the side of a grid above the largest in training.

  steps * sqrt(cells / cells in training), and a quarter of `steps` at least,
  after Xu & Miikkulainen (2025).
  """
  largest = max(pair.input.size for pair in task.train)
  scaled = round(steps * (grid_YX.size / largest) ** 0.5)
  padded_YX = np.zeros((side, side), np.int32)
  padded_YX[: grid_YX.shape[0], : grid_YX.shape[1]] = grid_YX
  scaled = max(scaled, -(-steps // 4))
  return Question(padded_YX, np.array(grid_YX.shape, np.int32), scaled)


@functools.partial(jax.jit, static_argnums=0)
def answer(
  model: automaton.Config, params: Params, asked: Question, turns_V: Array
) -> Array:
  """What an automaton makes of a grid, seen in each of some maps.

  Args:
    model: of the automaton.
    params: of the automaton.
    asked: the grid.
    turns_V: the maps; each answer is mapped back.

  Returns:
    Probabilities, `[V, Y, X, K]`.
  """
  side = asked.grid_YX.shape[-1]
  inside_YX = grid_batches.mask(side, asked.size)
  turn = jax.vmap(grid_symmetries.dihedral, (0, None))
  mask_VYX = turn(turns_V, inside_YX)
  step = lambda _, state: _step(model, params, state, mask_VYX)
  state = automaton.init_state(model, turn(turns_V, asked.grid_YX))
  state = jax.lax.fori_loop(0, asked.steps, step, state)
  back_V = jnp.array(grid_symmetries.UNDO)[turns_V]
  return jax.vmap(grid_symmetries.dihedral)(
    back_V, state[..., : model.num_colors]
  )


def watch(
  model: automaton.Config, params: Params, asked: Question
) -> np.ndarray:
  """Probabilities from the input on, `[steps + 1, Y, X, K]`."""
  mask_YX = grid_batches.mask(asked.grid_YX.shape[-1], asked.size)
  states = [automaton.init_state(model, asked.grid_YX)]
  for _ in range(asked.steps):
    states.append(_step(model, params, states[-1], mask_YX))
  return np.stack(states)[..., : model.num_colors]


@functools.partial(jax.jit, static_argnums=0)
def _step(model, params, state, mask):
  return automaton.rollout(model, params, state, mask, steps=1)[0]
