"""Saving and restoring a `TrainState` with orbax."""

from collections.abc import Iterator
import contextlib
import pathlib

from absl import logging
import jax
from jax.sharding import SingleDeviceSharding
import orbax.checkpoint as ocp

from trainers.problem import TrainState


@contextlib.contextmanager
def open_manager(
  workdir: str, keep: int | None
) -> Iterator[ocp.CheckpointManager]:
  """The checkpoints of `workdir`; closing it waits for unfinished saves."""
  path = _folder(workdir)
  options = ocp.CheckpointManagerOptions(max_to_keep=keep)
  with ocp.CheckpointManager(path, options=options) as manager:
    yield manager


def save(manager: ocp.CheckpointManager, state: TrainState) -> None:
  """Starts writing `state`; it counts once it is whole on disk."""
  step = int(state.step)
  if step != manager.latest_step():
    manager.save(step, args=ocp.args.StandardSave(state))


def restore(manager: ocp.CheckpointManager, state: TrainState) -> TrainState:
  """Returns the newest whole checkpoint, or `state` when there is none.

  Damaged checkpoints that are newer are reported and removed: their steps are
  about to be made again.

  Args:
    manager: where to look.
    state: gives the shapes, types and shardings to restore into.

  Raises:
    ValueError: there are checkpoints, and none of them can be read.
  """
  like = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
  found, damaged = _newest(manager, like)
  if found is None:
    return state
  for step in damaged:
    manager.delete(step)
  return found


def load(workdir: str, shapes: TrainState) -> TrainState:
  """The newest whole checkpoint, on one device, whatever wrote it.

  Nothing on the disk is changed.

  Args:
    workdir: what `loop.fit` was given.
    shapes: of the state, as `jax.eval_shape` tells them.

  Raises:
    ValueError: there is no checkpoint, or none of them can be read.
  """
  place = SingleDeviceSharding(jax.devices()[0])
  like = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes
  )
  found = None
  if _folder(workdir).is_dir():
    with open_manager(workdir, None) as manager:
      found, _ = _newest(manager, like)
  if found is None:
    raise ValueError(f"there is no checkpoint in {_folder(workdir)}")
  return found


def _folder(workdir):
  return pathlib.Path(workdir).resolve() / "checkpoints"


def _newest(manager, like):
  """The newest whole checkpoint, if there is one, and the damaged after it."""
  damaged = {}
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      state = manager.restore(step, args=ocp.args.StandardRestore(like))
    except (OSError, ValueError) as error:
      logging.warning("checkpoint %d cannot be read, skipped: %s", step, error)
      damaged[step] = error
      continue
    return state, damaged
  if damaged:
    raise ValueError(
      f"no checkpoint in {manager.directory} can be read; the oldest says: "
      f"{damaged[min(damaged)]}\nRemove that folder to start over."
    )
  return None, damaged
