"""Saving and restoring a `TrainState` with orbax."""

from collections.abc import Iterator
import contextlib
import pathlib

from absl import logging
import jax
import orbax.checkpoint as ocp

from trainers.problem import TrainState


@contextlib.contextmanager
def open_manager(workdir: str, keep: int) -> Iterator[ocp.CheckpointManager]:
  """The checkpoints of `workdir`; closing it waits for unfinished saves."""
  path = pathlib.Path(workdir).resolve() / "checkpoints"
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
  damaged = {}
  for step in sorted(manager.all_steps(), reverse=True):
    try:
      state = manager.restore(step, args=ocp.args.StandardRestore(like))
    except (OSError, ValueError) as error:
      logging.warning("checkpoint %d cannot be read, skipped: %s", step, error)
      damaged[step] = error
      continue
    for later in damaged:
      manager.delete(later)
    return state
  if damaged:
    raise ValueError(
      f"no checkpoint in {manager.directory} can be read; the oldest says: "
      f"{damaged[min(damaged)]}\nRemove that folder to start over."
    )
  return state
