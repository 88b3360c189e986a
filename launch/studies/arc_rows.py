"""Automata of ARC tasks, trained in groups, and what is seen of each task."""

from collections.abc import Iterator, Mapping, Sequence
import itertools
import time
from typing import Any, NamedTuple
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import arc_lanes
from simplex.analysis import grid_scores
from simplex.data import grid_batches, grids
from simplex.models import automaton
from trainers import grid_pictures, lanes

LONGER = 10  # times the steps, after which an answer should still stand


class Lane(NamedTuple):
  """What was seen of one automaton.

  Attributes:
    arm: its arm.
    seed: which of the arm's.
    updates: that it had.
    loss: of its last update.
    fits: whether all training pairs come out right.
    exact: whether all test grids do, at the last step, in one view.
    cells: share of test cells that are right.
    stays: whether they are after ten times the steps; None where not exact.
    error: log error of the first test grid; see `grid_scores.log_error`.
    least_error: the least at any look during training.
  """

  arm: str
  seed: int
  updates: int
  loss: float
  fits: bool
  exact: bool
  cells: float
  stays: bool | None
  error: float
  least_error: float


class Row(NamedTuple):
  """What was seen of a task.

  Attributes:
    name: of the task.
    side: of its largest training input.
    cells: of its largest test input, over those in training.
    pairs: in training.
    changed: share of test cells that the task changes.
    seconds: of this machine, for all lanes.
    lanes: automata.
    seeds: of each seed, whether its first attempt is right, and one of two.
    arms: of each arm, whether its vote is right.
    attempts: of all automata together, as of a seed.
    first: the arm that is believed first.
  """

  name: str
  side: int
  cells: float
  pairs: int
  changed: float
  seconds: float
  lanes: Sequence[Lane]
  seeds: Sequence[tuple[bool, bool]]
  arms: Mapping[str, bool]
  attempts: tuple[bool, bool]
  first: str


class Picture(NamedTuple):
  """The first test grid of a task; colours, but for the frames."""

  input: np.ndarray
  wanted: np.ndarray
  attempts: np.ndarray  # [1 or 2, Y, X]
  frames: np.ndarray  # uint8 [T, Y, X, 3]


class _Trained(NamedTuple):
  arm: str
  seed: int
  params: Any
  updates: int
  loss: float
  fits: bool
  least_error: float


def groups(
  tasks: Sequence[grids.Task], recipe: arc_lanes.Recipe, most: int
) -> Iterator[tuple[int, int, list[grids.Task]]]:
  """Tasks that share a program, at most some at once, small ones first.

  Yields:
    The padded side, the updates and the tasks.
  """

  def shape(task):
    pairs = len(task.train) if recipe.per_pair else 1
    side = grid_batches.padded_side(grids.side(task.train))
    return side, pairs * recipe.updates

  ordered = sorted(tasks, key=shape)
  for (side, updates), like in itertools.groupby(ordered, shape):
    like = list(like)
    for i in range(0, len(like), most):
      yield side, updates, like[i : i + most]


def rows(
  model: automaton.Config,
  recipe: arc_lanes.Recipe,
  tasks: Sequence[grids.Task],
  *,
  seed: int,
  together: int,
  at_once: int,
) -> Iterator[list[tuple[Row, Picture]]]:
  """Trains the automata of tasks, and yields tasks when they are known.

  A task's automata depend on its name and the seed, not on other tasks.

  Args:
    model: of every automaton.
    recipe: how they are trained.
    tasks: whose grids keep their size.
    seed: of everything that is random.
    together: tasks that are trained before the first of them is known.
    at_once: lanes that a device computes together.
  """
  count = max((len(task.train) for task in tasks), default=0)
  for side, updates, group in groups(tasks, recipe, together):
    started = time.monotonic()
    trainer = arc_lanes.trainer(model, recipe, side, updates, at_once)
    steps = recipe.steps(model.steps, side)
    data = [
      arc_lanes.lane(task, arm, side, count)
      for task, arm, _ in _members(recipe, group)
    ]
    key = jax.random.key(seed)
    keys = [
      _key(key, task.name, arm, s) for task, arm, s in _members(recipe, group)
    ]
    begun = lanes.start(
      trainer,
      jnp.stack(keys),
      jax.tree.map(lambda *x: np.stack(x), *data),
    )
    room = together * len(recipe.arms) * recipe.num_seeds
    looks = lanes.run(trainer, begun, room=room)
    trained = _followed(model, recipe, steps, group, looks)
    seen = [
      _row(model, recipe, task, steps, trained[task.name]) for task in group
    ]
    seconds = (time.monotonic() - started) / len(group)
    yield [(row._replace(seconds=seconds), picture) for row, picture in seen]


def _members(recipe, group):
  """Task, arm and seed of each lane."""
  return list(itertools.product(group, recipe.arms, range(recipe.num_seeds)))


def _key(key, name, arm, seed):
  for word in (name, arm):
    key = jax.random.fold_in(key, zlib.crc32(word.encode()))
  return jax.random.fold_in(key, seed)


def _followed(model, recipe, steps, group, looks) -> dict[str, list[_Trained]]:
  """Lanes as they end, with the least error of all looks at the first test."""
  members = _members(recipe, group)
  least = np.full(len(members), np.inf)
  trained = [None] * len(members)
  for ended, going in looks:
    for part, is_end in ((ended, True), (going, False)):
      for i, index in enumerate(part.index):
        task, arm, seed = members[index]
        params = jax.tree.map(lambda x, i=i: x[i], part.state.params)
        probabilities = _answer(model, params, task, task.test[0], steps)[0]
        error = grid_scores.log_error(probabilities, task.test[0].output)
        least[index] = min(least[index], error)
        if is_end:
          trained[index] = _Trained(
            arm,
            seed,
            params,
            int(part.state.step[i]),
            float(part.loss[i]),
            bool(part.streak[i]),
            float(least[index]),
          )
  found = {task.name: [] for task in group}
  for (task, _, _), lane in zip(members, trained, strict=True):
    found[task.name].append(lane)
  return found


def _asked(task, pair, steps, longer=1):
  side = grid_batches.padded_side(max(pair.input.shape))
  asked = arc_lanes.question(pair.input, task, steps, side)
  return asked._replace(steps=asked.steps * longer)


def _answer(model, params, task, pair, steps, turns=(0,), longer=1):
  """Probabilities [V, Y, X, K] of the output of a pair."""
  asked = _asked(task, pair, steps, longer)
  y, x = pair.input.shape
  found = arc_lanes.answer(model, params, asked, np.array(turns))
  return np.asarray(found)[:, :y, :x]


def _row(model, recipe, task, steps, trained) -> tuple[Row, Picture]:
  outputs = [pair.output for pair in task.test]
  looked, seen = [], []
  for lane in trained:
    turns = arc_lanes.ARMS[lane.arm].turns
    views = [
      _answer(model, lane.params, task, pair, steps, turns)
      for pair in task.test
    ]
    looked.append([view.mean(0) for view in views])
    seen.append(_lane(model, task, steps, lane, [v[0] for v in views]))
  order, votes = ranked(recipe, seen, looked)
  attempts = grid_scores.distinct(
    [votes[arm] for arm in order] + [_decided(looks) for looks in looked]
  )
  believed = next(lane for lane in trained if lane.arm == order[0])
  row = Row(
    name=task.name,
    side=grids.side(task.train),
    cells=max(p.input.size for p in task.test)
    / max(p.input.size for p in task.train),
    pairs=len(task.train),
    changed=1 - grid_scores.right_cells([p.input for p in task.test], outputs),
    seconds=np.nan,
    lanes=seen,
    seeds=[
      _right(_attempts_of_seed(recipe, seen, looked, s), outputs)
      for s in range(recipe.num_seeds)
    ],
    arms={a: grid_scores.is_exact(votes[a], outputs) for a in recipe.arms},
    attempts=_right(attempts, outputs),
    first=order[0],
  )
  return row, _picture(model, task, steps, believed.params, attempts)


def _lane(model, task, steps, lane: _Trained, plain) -> Lane:
  """One automaton by itself, in one view."""
  outputs = [pair.output for pair in task.test]
  answers = _decided(plain)
  exact = grid_scores.is_exact(answers, outputs)
  stays = None
  if exact:
    later = [
      _answer(model, lane.params, task, pair, steps, longer=LONGER)[0]
      for pair in task.test
    ]
    stays = grid_scores.is_exact(_decided(later), outputs)
  return Lane(
    arm=lane.arm,
    seed=lane.seed,
    updates=lane.updates,
    loss=lane.loss,
    fits=lane.fits,
    exact=exact,
    cells=grid_scores.right_cells(answers, outputs),
    stays=stays,
    error=grid_scores.log_error(plain[0], outputs[0]),
    least_error=lane.least_error,
  )


def _decided(probabilities: Sequence[np.ndarray]) -> list[np.ndarray]:
  return [x_YXK.argmax(-1) for x_YXK in probabilities]


def ranked(recipe, seen, looked):
  """Arms in the order of belief, and what each answers by its mean.

  Of an arm those vote that fit the training pairs, or all where none does. An
  arm of which at least half fit is believed before one of which fewer do.
  """
  votes, doubts = {}, {}
  for arm in recipe.arms:
    own = [i for i, lane in enumerate(seen) if lane.arm == arm]
    fitting = [i for i in own if seen[i].fits]
    voters = [looked[i] for i in fitting or own]
    votes[arm] = _decided([np.mean(x, 0) for x in zip(*voters, strict=True)])
    doubts[arm] = 2 * len(fitting) < len(own)
  return sorted(recipe.arms, key=doubts.get), votes


def _attempts_of_seed(recipe, seen, looked, seed):
  chosen = [i for i, lane in enumerate(seen) if lane.seed == seed]
  own = [seen[i] for i in chosen]
  order, votes = ranked(recipe, own, [looked[i] for i in chosen])
  return grid_scores.distinct([votes[arm] for arm in order])


def _right(attempts, outputs) -> tuple[bool, bool]:
  """Whether the first attempt is right, and whether one of two is."""
  return (
    grid_scores.is_exact(attempts[0], outputs),
    grid_scores.is_solved(attempts, outputs),
  )


def _picture(model, task, steps, params, attempts) -> Picture:
  pair = task.test[0]
  asked = _asked(task, pair, steps)
  y, x = pair.input.shape
  frames = arc_lanes.watch(model, params, asked)
  return Picture(
    pair.input,
    pair.output,
    np.stack([attempt[0] for attempt in attempts]),
    grid_pictures.blended(frames[:, :y, :x]),
  )
