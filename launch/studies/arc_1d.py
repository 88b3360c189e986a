"""1D-ARC: one automaton for all tasks, told each by its demonstrations.

The second mode of automata for ARC, after CAX (Faldor & Cully 2024,
https://arxiv.org/abs/2410.02651): rows of colours, three demonstrations and a
question to a task. The demonstrations stand in hidden channels of the state,
above the cells, and one residual rule must do what they show. CAX reports
60.12 % exact on 1D-ARC (https://github.com/khalil-research/1D-ARC).

`read` takes a folder of that data. `stand_in` makes rows of six families like
its own, to try the code where the data is not: no number on it is one on
1D-ARC.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import json
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.data import sources
from simplex.losses import grids
from simplex.models import automaton
from simplex.types import Array
from trainers import optimizers, scan
from trainers.problem import Problem

DEMONSTRATIONS = 3
COLOURS = 10
CONTEXT = 2 * DEMONSTRATIONS * COLOURS  # channels in which demonstrations stand


class Rows(NamedTuple):
  """Tasks as rows of colours, -1 outside of a row.

  Attributes:
    family: number of each task's family, `[N]`.
    inputs: of the demonstrations and, last, of the question, `[N, 4, X]`.
    outputs: what they become, `[N, 4, X]`.
  """

  family: np.ndarray
  inputs: np.ndarray
  outputs: np.ndarray


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes: of the automaton beyond its context, and of its training."""

  memory: int = 20  # hidden channels that begin at 0
  perception_width: int = 48
  width: int = 96
  steps: int = 12
  num_steps: int = 2000
  batch_size: int = 16
  seed: int = 0
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=2e-3, schedule="linear"
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
    optimizer=optimizers.Config(learning_rate=1e-3, schedule="linear"),
  )


def read(folder: pathlib.Path) -> tuple[tuple[str, ...], Rows]:
  """Tasks of a folder of 1D-ARC: a folder of JSON files for each family.

  Returns:
    Names of the families, and the tasks, padded to the longest row.

  Raises:
    ValueError: there is no task, or a file is none; it is named.
  """
  paths = sorted(folder.glob("*/*.json"))
  if not paths:
    raise ValueError(f"{folder} has no file <family>/<task>.json")
  names = tuple(sorted({path.parent.name for path in paths}))
  family = [names.index(path.parent.name) for path in paths]
  return names, _padded(family, [_parse(path) for path in paths])


def _parse(path):
  try:
    task = json.loads(path.read_text())
    pairs = task["train"] + task["test"]
    rows = [(np.ravel(p["input"]), np.ravel(p["output"])) for p in pairs]
  except (json.JSONDecodeError, KeyError, TypeError) as error:
    raise ValueError(f"{path} is no ARC task: {error!r}") from error
  if len(rows) != DEMONSTRATIONS + 1:
    raise ValueError(f"{path} has {len(rows)} pairs and not 3 and 1")
  for row in sum(rows, ()):
    if not (np.isin(row, range(COLOURS)).all() and row.size):
      raise ValueError(f"{path} has the row {row}; colours are 0 to 9")
  if any(x.shape != y.shape for x, y in rows):
    raise ValueError(f"{path} has an input and an output of different lengths")
  return rows


def _padded(family: Sequence[int], tasks: Sequence[Sequence]) -> Rows:
  length = max(x.size for task in tasks for x, _ in task)
  pad = lambda row: np.pad(row, (0, length - row.size), constant_values=-1)
  arrays = np.array([[[pad(x), pad(y)] for x, y in task] for task in tasks])
  return Rows(np.array(family), arrays[:, :, 0], arrays[:, :, 1])


def _block(rng, length):
  row, size = np.zeros(length, int), rng.integers(3, length // 2)
  start = rng.integers(0, length - size - 3)
  row[start : start + size] = rng.integers(1, COLOURS)
  return row, start, size


def _move(rng, length, distance):
  row, _, _ = _block(rng, length)
  return row, np.roll(row, distance)


def _hollow(rng, length):
  row, start, size = _block(rng, length)
  out = row.copy()
  out[start + 1 : start + size - 1] = 0
  return row, out


def _fill(rng, length):
  row, out = _hollow(rng, length)
  return out, row


def _denoise(rng, length):
  row, start, size = _block(rng, length)
  noisy = row.copy()
  free = [i for i in range(length) if not start - 1 <= i <= start + size]
  noisy[rng.choice(free, 2, replace=False)] = row[start]
  return noisy, row


FAMILIES = {
  "move 1": functools.partial(_move, distance=1),
  "move 2": functools.partial(_move, distance=2),
  "move 3": functools.partial(_move, distance=3),
  "fill": _fill,
  "hollow": _hollow,
  "denoise": _denoise,
}


def stand_in(
  seed: int, count: int, length: int = 16
) -> tuple[tuple[str, ...], Rows]:
  """So many tasks of each of `FAMILIES`; not 1D-ARC, but of its kind."""
  rng = np.random.default_rng(seed)
  pairs = DEMONSTRATIONS + 1
  family = np.repeat(np.arange(len(FAMILIES)), count)
  makers = list(FAMILIES.values())
  tasks = [[makers[f](rng, length) for _ in range(pairs)] for f in family]
  return tuple(FAMILIES), _padded(family, tasks)


def split(rows: Rows, seed: int, held_out: float = 0.1) -> tuple[Rows, Rows]:
  """Tasks to train on, and tasks of the same families to be asked."""
  order = np.random.default_rng(seed).permutation(len(rows.family))
  cut = max(1, round(held_out * len(order)))
  take = lambda chosen: Rows(*(x[chosen] for x in rows))
  return take(order[cut:]), take(order[:cut])


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


def answers(config: Config, params, inputs, outputs) -> Array:
  """Logits of the colours after the last step, `[B, 1, X, K]`."""
  model = config.model
  state, _ = automaton.rollout(
    model,
    params,
    begin(model, inputs, outputs),
    (inputs[:, -1] >= 0)[:, None],
  )
  return state[..., :COLOURS]


def problem(config: Config, rows: Rows) -> Problem:
  """Random tasks, mirrored, with colours and demonstrations exchanged."""
  pairs_N24X = jnp.stack([rows.inputs, rows.outputs], axis=1)

  def sample(key):
    task_key, order_key, flip_key, color_key = jax.random.split(key, 4)
    task = jax.random.randint(task_key, (), 0, len(rows.family))
    order = jax.random.permutation(order_key, DEMONSTRATIONS)
    order = jnp.append(order, DEMONSTRATIONS)
    colors = jax.random.permutation(color_key, jnp.arange(1, COLOURS))
    colors = jnp.concatenate([jnp.array([0]), colors, jnp.array([-1])])
    pair = colors[pairs_N24X[task][:, order]]
    flipped = jax.random.bernoulli(flip_key)
    # A padded row may begin later: cells do not know where they are.
    pair = jnp.where(flipped, pair[..., ::-1], pair)
    return {"inputs": pair[0], "outputs": pair[1]}

  def loss(params, batch, *, key, step):
    del key, step
    inputs, outputs = batch["inputs"], batch["outputs"]
    logits = answers(config, params, inputs, outputs)
    right = outputs[:, -1][:, None]
    return grids.every_step(jax.nn.softmax(logits)[None], right, right >= 0)

  return Problem(
    init=functools.partial(automaton.init_params, config.model),
    loss=loss,
    source=sources.from_sampler(sample, config.batch_size),
  )


def measure(
  config: Config, params, rows: Rows, names: Sequence[str]
) -> Mapping[str, float]:
  """Share of questions answered exactly, of each family and of all."""
  logits = jax.jit(functools.partial(answers, config))(
    params, jnp.asarray(rows.inputs), jnp.asarray(rows.outputs)
  )
  right, asked = rows.outputs[:, -1], rows.inputs[:, -1] >= 0
  given = np.argmax(np.asarray(logits)[:, 0], -1)
  exact = np.all((given == right) | ~asked, axis=-1)
  of_family = {
    name: float(np.mean(exact[rows.family == i]))
    for i, name in enumerate(names)
    if np.any(rows.family == i)
  }
  return of_family | {"all": float(np.mean(exact))}


def run(
  config: Config, names: Sequence[str], rows: Rows
) -> tuple[Mapping[str, float], np.ndarray]:
  """Trains on nine tenths; the score on the rest, and the losses."""
  train, test = split(rows, config.seed)
  fitted = jax.jit(
    lambda key: scan.fit(
      problem(config, train),
      optimizers.make(config.optimizer, config.num_steps),
      key,
      config.num_steps,
    )
  )
  state, metrics, _ = fitted(jax.random.key(config.seed))
  scores = measure(config, state.params, test, names)
  return scores, np.asarray(metrics["loss"])
