"""Many small trainings of one shape, by one compiled program, until each ends.

A lane is one training: one task, or one task and seed. Lanes share a program,
not a step: each stops when it has fitted its data for a while, and the time it
would have taken goes to the others.
"""

from collections.abc import Callable, Iterator
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.types import Array, Key, Params, Source
from trainers import sharding
from trainers.problem import Problem, TrainState
from trainers.step import init_state, train_step


class Lanes(NamedTuple):
  """Trainings that go on or have ended; all there is to save.

  Every array has a leading axis of lanes.

  Attributes:
    index: which lane of the caller's each is.
    state: with the lane's data as the state of its source.
    streak: chunks in a row at whose end the lane fitted its data.
    loss: of each lane's last update.
  """

  index: Array
  state: TrainState
  streak: Array
  loss: Array


class Trainer(NamedTuple):
  """What lanes have in common.

  Attributes:
    init: `key -> params`.
    loss: `(params, data, *, key, step) -> (loss, metrics)` of one lane.
    fits: `(params, data) -> bool`, whether nothing is left to learn.
    optimizer: any optax transformation.
    num_steps: updates after which a lane ends in any case.
    chunk: updates between two looks at `fits`.
    patience: chunks in a row that must fit to end a lane; 0 never ends it
      early.
    at_once: lanes that a device computes together, by `vmap`. More keep an
      accelerator busy; on a CPU, one is fastest.
  """

  init: Callable[[Key], Params]
  loss: Callable[..., tuple[Array, Any]]
  fits: Callable[[Params, Any], Array]
  optimizer: optax.GradientTransformation
  num_steps: int
  chunk: int = 100
  patience: int = 1
  at_once: int = 1


def start(trainer: Trainer, keys: Key, data: Any) -> Lanes:
  """Lanes before their first update.

  Args:
    trainer: what they have in common.
    keys: one for each lane.
    data: a tree whose leading axis runs over the lanes.

  Raises:
    ValueError: the chunk does not divide the number of updates.
  """
  if trainer.num_steps % trainer.chunk:
    raise ValueError(
      f"chunk={trainer.chunk} does not divide num_steps={trainer.num_steps}"
    )
  make = functools.partial(init_state, _problem(trainer), trainer.optimizer)
  states = jax.jit(jax.vmap(make))(keys)._replace(source=data)
  count = len(keys)
  return jax.device_get(
    Lanes(
      index=np.arange(count),
      state=states,
      streak=np.zeros(count, np.int32),
      loss=np.full(count, np.nan, np.float32),
    )
  )


def run(
  trainer: Trainer, lanes: Lanes, *, room: int = 0
) -> Iterator[tuple[Lanes, Lanes]]:
  """Trains lanes until all have ended; to be stopped at any time.

  Args:
    trainer: what they have in common.
    lanes: of `start`, or the second of an earlier yield.
    room: for how many lanes the program is made, where there are fewer: calls
      with the same room share it.

  Yields:
    After every chunk the lanes that ended in it and those that go on, on the
    host. Both together with what was yielded before are all lanes.
  """
  advance = _compile(trainer)
  devices = jax.device_count()
  width = devices * trainer.at_once
  capacity = -(-max(room, len(lanes.index)) // width) * width
  while (count := len(lanes.index)) > 0:
    # Each device gets every d-th lane, and copies of lanes up to its capacity:
    # the program stays the same while lanes end, and does not look at copies.
    order = np.arange(capacity).reshape(-1, devices).T.reshape(-1)
    counts = np.array([len(range(d, count, devices)) for d in range(devices)])
    done = advance(counts, _take(lanes, order % count))
    lanes = _take(jax.device_get(done), np.argsort(order)[:count])
    ended = lanes.state.step >= trainer.num_steps
    if trainer.patience:
      ended |= lanes.streak >= trainer.patience
    yield _take(lanes, ended), (lanes := _take(lanes, ~ended))


def _take(lanes, chosen):
  return jax.tree.map(lambda x: x[chosen], lanes)


@functools.lru_cache(maxsize=16)  # lanes may come in groups
def _compile(trainer):
  """A chunk of updates of the first lanes of each device."""
  at_once = trainer.at_once
  one = functools.partial(_chunk, trainer)
  # On a CPU, `vmap` over a single lane makes its matrix products half as fast.
  chunk = jax.vmap(one) if at_once > 1 else lambda part: jax.lax.map(one, part)

  def on_device(count, lanes):
    def block(i, lanes):
      cut = lambda x: jax.lax.dynamic_slice_in_dim(x, i * at_once, at_once)
      paste = lambda x, part: jax.lax.dynamic_update_slice_in_dim(
        x, part, i * at_once, axis=0
      )
      return jax.tree.map(paste, lanes, chunk(jax.tree.map(cut, lanes)))

    blocks = (count[0] + at_once - 1) // at_once
    return jax.lax.fori_loop(0, blocks, block, lanes)

  return jax.jit(
    jax.shard_map(
      on_device,
      mesh=sharding.make_mesh(),
      in_specs=jax.P("data"),
      out_specs=jax.P("data"),
      check_vma=False,
    ),
    donate_argnums=1,
  )


def _chunk(trainer, lane):
  """Some updates of one lane, and a look at whether it fits its data."""
  step_fn = functools.partial(train_step, _problem(trainer), trainer.optimizer)
  state, metrics = jax.lax.scan(
    lambda state, _: step_fn(state), lane.state, length=trainer.chunk
  )
  fits = trainer.fits(state.params, state.source)
  return lane._replace(
    state=state,
    streak=jnp.where(fits, lane.streak + 1, 0),
    loss=metrics["loss"][-1],
  )


def _problem(trainer):
  source = Source(init=lambda key: (), next=lambda data: (data, data))
  return Problem(trainer.init, trainer.loss, source)
