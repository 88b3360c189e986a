"""Saving and restoring a `TrainState` with orbax.

A checkpoint is a folder that orbax writes under another name and renames when
all of it is there. It carries the SHA-256 of its files, and one is whole when
they agree. That is checked before orbax reads it: what orbax makes of damaged
files is any of a dozen exceptions, or numbers that were never saved.
"""

from collections.abc import Iterator
import contextlib
import hashlib
import pathlib
import re
from typing import Any

from absl import logging
import jax
from jax.experimental import multihost_utils
from jax.sharding import SingleDeviceSharding
import numpy as np
import orbax.checkpoint as ocp

from trainers import files
from trainers.problem import TrainState

SUMS = "SHA256SUMS"  # as sha256sum writes it, and can check it
STATE = "default"  # orbax's name for the only thing in a checkpoint


class SaveError(OSError):
  """A checkpoint could not be written; those from before it are whole."""


@contextlib.contextmanager
def open_manager(
  workdir: str, keep: int | None
) -> Iterator[ocp.CheckpointManager]:
  """The checkpoints of `workdir`; closing it waits for unfinished saves.

  What a crash left half written is removed.

  Raises:
    SaveError: on closing, the last save has failed.
  """
  folder = _folder(workdir)
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep,
    cleanup_tmp_directories=True,
    lightweight_initialize=True,
    async_options=ocp.AsyncOptions(
      # Called in the background, before a checkpoint gets its name.
      post_finalization_callback=lambda: _seal(folder)
    ),
  )
  manager = _manager(folder, options)
  try:
    yield manager
  finally:
    with _save_errors(folder):
      manager.close()


def save(manager: ocp.CheckpointManager, state: TrainState) -> None:
  """Starts writing `state`; it counts once it is whole on disk.

  Waits for the save before it, if that one is not finished.

  Raises:
    SaveError: the save before it, or this one, has failed.
  """
  step = int(state.step)
  if step != manager.latest_step():
    with _save_errors(manager.directory):
      manager.save(step, args=ocp.args.StandardSave(state), force=True)


def restore(
  manager: ocp.CheckpointManager, like: TrainState, keep: int
) -> TrainState | None:
  """Returns the newest whole checkpoint, or None when there is none.

  Damaged checkpoints that are newer are reported and removed: their steps are
  about to be made again. So are old ones whose removal a crash cut short.

  Args:
    manager: where to look.
    like: shapes, types and shardings to restore into, whatever wrote it.
    keep: checkpoints to keep, the newest whole one included.

  Raises:
    InputError: there are checkpoints and none of them is whole, or the newest
      whole one has other arrays; the message lists all that differ.
  """
  step = _newest(pathlib.Path(manager.directory), manager.all_steps())
  if step is None:
    return None
  kept = [other for other in manager.all_steps() if other <= step][-keep:]
  for other in manager.all_steps():
    if other not in kept:
      manager.delete(other)
  return _read(manager, step, like)


def load(workdir: str, shapes: TrainState) -> TrainState:
  """The newest whole checkpoint, on one device, whatever wrote it.

  Nothing on the disk is changed.

  Args:
    workdir: what `loop.fit` was given.
    shapes: of the state, as `jax.eval_shape` tells them.

  Raises:
    InputError: as for `restore`, or there is no checkpoint.
  """
  place = SingleDeviceSharding(jax.devices()[0])
  like = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes
  )
  folder = _folder(workdir)
  options = ocp.CheckpointManagerOptions(
    create=False, save_root_metadata=False, lightweight_initialize=True
  )
  if folder.is_dir():
    with _manager(folder, options) as manager:
      step = _newest(folder, manager.all_steps())
      if step is not None:
        return _read(manager, step, like)
  raise files.InputError(f"there is no checkpoint in {folder}")


def damage(checkpoint: pathlib.Path) -> str | None:
  """What is wrong with the files of a checkpoint; None if it is whole.

  Args:
    checkpoint: its folder.
  """
  try:
    lines = (checkpoint / SUMS).read_text().splitlines()
    sums = {line[66:]: line[:64] for line in lines}
    names = sorted(sums)
    if not names or names != _names(checkpoint):
      return f"{SUMS} does not have the names of the files that are there"
    # Each process reads its share.
    for name in names[jax.process_index() :: jax.process_count()]:
      if _sha256(checkpoint / name) != sums[name]:
        return f"{name} is not what was saved"
  except (OSError, UnicodeDecodeError) as error:
    return f"{error}"
  return None


class _Manager(ocp.CheckpointManager):
  """One that leaves preemption to the loop.

  JAX finds the step at which all processes stop from the step that it was last
  asked about. Orbax asks when a save has ended, in another thread, about a step
  long done: a stop agreed on just then would lie in the past, and never come.
  """

  def reached_preemption(self, step: int) -> bool:
    return False


def _manager(folder, options):
  handler = ocp.StandardCheckpointHandler()  # without one, it has no metadata
  return _Manager(folder, item_handlers=handler, options=options)


def _newest(folder: pathlib.Path, steps: Any) -> int | None:
  """The newest whole checkpoint; all processes come to the same answer."""
  found = []
  for step in sorted(steps, reverse=True):
    wrong = damage(folder / str(step))
    verdicts = [wrong is None]
    if jax.process_count() > 1:
      verdicts = multihost_utils.process_allgather(np.array(verdicts))
    if np.all(verdicts):
      return step
    why = wrong or "another process finds it damaged"
    logging.warning("checkpoint %d cannot be read, skipped: %s", step, why)
    found.append(why)
  if found:
    raise files.InputError(
      f"no checkpoint in {folder} can be read; the oldest says: {found[-1]}\n"
      "Remove that folder to start over."
    )
  return None


def _read(manager, step, like):
  saved = manager.item_metadata(step).tree
  there, here = _leaves(saved), _leaves(like)
  absent = "absent"
  differ = [
    f"{name}: {there.get(name, absent)} there, {here.get(name, absent)} here"
    for name in sorted(there.keys() | here.keys())
    if there.get(name) != here.get(name)
  ]
  if differ:
    raise files.InputError(
      f"checkpoint {step} in {manager.directory} is of another model, "
      "optimizer or source:\n  " + "\n  ".join(differ)
    )
  return manager.restore(step, args=ocp.args.StandardRestore(like))


def _leaves(tree: Any) -> dict[str, str]:
  """Path to type and shape, of arrays or of what orbax tells of them."""
  flat, _ = jax.tree_util.tree_flatten_with_path(
    tree, is_leaf=lambda x: hasattr(x, "shape")
  )
  name = lambda path: jax.tree_util.keystr(path, simple=True, separator="/")
  return {name(path): f"{x.dtype}{list(x.shape)}" for path, x in flat}


def _seal(folder: pathlib.Path) -> None:
  """Adds the sums to the checkpoint that is being written."""
  for checkpoint in folder.glob("*.orbax-checkpoint-tmp*"):
    lines = [f"{_sha256(checkpoint / x)}  {x}\n" for x in _names(checkpoint)]
    files.write_atomic(checkpoint / SUMS, "".join(lines))


def _names(checkpoint: pathlib.Path) -> list[str]:
  """The files that hold the state."""
  paths = (x for x in (checkpoint / STATE).rglob("*") if x.is_file())
  return sorted(str(x.relative_to(checkpoint)) for x in paths)


def _sha256(path: pathlib.Path) -> str:
  with path.open("rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _save_errors(folder) -> Iterator[None]:
  """Turns what orbax and tensorstore raise into `SaveError`."""
  try:
    yield
  except (OSError, ValueError, RuntimeError) as error:
    code = getattr(error, "errno", None)
    # The number is all that tensorstore keeps of the system's error.
    told = re.search(r"os_error_code='(\d+)'", str(error))
    code = int(told[1]) if told else code
    raise SaveError(
      code, f"a checkpoint could not be saved in {folder}: {error}"
    ) from error


def _folder(workdir):
  return pathlib.Path(workdir).resolve() / "checkpoints"
