"""Tests for trainers/checkpoints.py: what is damaged is known as such."""

import errno
import os
import pathlib
import resource
import shutil
import subprocess
from unittest import mock

from absl.testing import absltest
import chex
import jax
from jax.experimental import multihost_utils
import jax.numpy as jnp
import optax

from tests.trainers import toy
from trainers import checkpoints, files
from trainers.step import init_state

TX = optax.adam(0.1)
STEPS = (2, 4, 6)


def flip(data):
  return bytes((data[0] ^ 1,)) + data[1:]


DAMAGE = {
  "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
  "emptied": lambda path: os.truncate(path, 0),
  "deleted": os.unlink,
  "one bit": lambda path: path.write_bytes(flip(path.read_bytes())),
  "noise": lambda path: path.write_bytes(os.urandom(path.stat().st_size)),
}


def state(step=0, **params):
  """A train state whose parameters tell its step."""
  found = init_state(toy.problem(), TX, jax.random.key(0))
  params = {"w": jnp.full(toy.WIDTH, float(step)), **params}
  return found._replace(
    step=jnp.asarray(step), params=params, opt_state=TX.init(params)
  )


def like(state):
  place = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), state
  )


class CheckpointsTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path
    self.folder = pathlib.Path(self.workdir) / "checkpoints"

  def save(self, *steps, keep=3):
    with checkpoints.open_manager(self.workdir, keep) as manager:
      for step in steps:
        checkpoints.save(manager, state(step))

  def restore(self, wanted=None, keep=3):
    with checkpoints.open_manager(self.workdir, keep) as manager:
      return checkpoints.restore(manager, like(wanted or state()), keep)

  def found(self):
    return sorted(x.name for x in self.folder.iterdir())

  def test_the_newest_comes_back_and_the_oldest_is_removed(self):
    self.assertIsNone(self.restore())
    self.save(*STEPS, keep=2)
    chex.assert_trees_all_equal(self.restore(keep=2), state(6))
    self.assertEqual(self.found(), ["4", "6"])

  def test_the_step_of_a_preemption_is_asked_for_by_the_loop_alone(self):
    name = "reached_preemption_sync_point"
    with mock.patch.object(multihost_utils, name) as reached:
      self.save(*STEPS)
    self.assertEqual(self.found(), ["2", "4", "6"])
    reached.assert_not_called()

  def test_the_sums_are_those_of_the_command(self):
    self.save(2)
    subprocess.run(
      ["sha256sum", "--check", "--strict", "--quiet", checkpoints.SUMS],
      cwd=self.folder / "2",
      check=True,
    )

  def test_any_damage_to_any_file_is_found(self):
    self.save(2)
    whole = self.folder / "2"
    self.assertIsNone(checkpoints.damage(whole))
    names = [checkpoints.SUMS]
    names += [
      line[66:] for line in (whole / checkpoints.SUMS).read_text().splitlines()
    ]
    self.assertGreater(len(names), 5)
    for name in names:
      for kind, harm in DAMAGE.items():
        with self.subTest(name, kind=kind):
          copy = pathlib.Path(self.create_tempdir().full_path) / "2"
          shutil.copytree(whole, copy)
          harm(copy / name)
          self.assertIsNotNone(checkpoints.damage(copy))

  def test_the_newest_whole_one_is_restored_and_damaged_ones_removed(self):
    self.save(*STEPS)
    os.truncate(next((self.folder / "6" / "default" / "d").iterdir()), 1)
    shutil.rmtree(self.folder / "4" / "default")
    (self.folder / "8").mkdir()
    with self.assertLogs(level="WARNING") as logs:
      chex.assert_trees_all_equal(self.restore(), state(2))
    for step, why in (
      (8, "No such file or directory: .*8/SHA256SUMS"),
      (6, "default/d/.* is not what was saved"),
      (4, "SHA256SUMS does not have the names of the files that are there"),
    ):
      self.assertRegex(
        str(logs.output), f"checkpoint {step} cannot be read, skipped: .*{why}"
      )
    self.assertEqual(self.found(), ["2"])
    with self.assertNoLogs(level="WARNING"):
      chex.assert_trees_all_equal(self.restore(), state(2))

  def test_what_a_crash_left_half_written_or_half_removed_goes(self):
    self.save(*STEPS)
    shutil.copytree(self.folder / "6", self.folder / "8.orbax-checkpoint-tmp")
    os.unlink(self.folder / "2" / checkpoints.SUMS)
    chex.assert_trees_all_equal(self.restore(keep=2), state(6))
    self.assertEqual(self.found(), ["4", "6"])

  def test_checkpoints_that_are_all_damaged_are_not_thrown_away(self):
    self.save(2, 4)
    for step in (2, 4):
      (self.folder / str(step) / checkpoints.SUMS).write_text("")
    with self.assertRaisesRegex(
      files.InputError,
      "(?s)no checkpoint in .*SUMS does not have the names.*Remove that folder",
    ):
      self.restore()
    self.assertEqual(self.found(), ["2", "4"])

  def test_a_checkpoint_of_another_model_lists_all_that_differs(self):
    self.save(2)
    other = state(2, w=jnp.zeros((3, 2)), b=jnp.zeros(5))
    with self.assertRaisesRegex(
      files.InputError, "checkpoint 2 in .* is of another model, optimizer or"
    ) as caught:
      self.restore(other)
    for part in (
      r"params/w: float32\[4\] there, float32\[3, 2\] here",
      r"params/b: absent there, float32\[5\] here",
      r"opt_state/0/mu/w: float32\[4\] there",
      r"opt_state/0/nu/b: absent there",
    ):
      self.assertRegex(str(caught.exception), part)
    self.assertNotIn("source", str(caught.exception).split("\n", 1)[1])

  def test_a_load_leaves_a_half_written_checkpoint_to_its_writer(self):
    self.save(2)
    (self.folder / "4.orbax-checkpoint-tmp").mkdir()
    shapes = jax.eval_shape(state)
    with self.assertNoLogs(level="WARNING"):
      found = checkpoints.load(self.workdir, shapes)
    chex.assert_trees_all_equal(found, state(2))
    self.assertEqual(self.found(), ["2", "4.orbax-checkpoint-tmp"])

  def check_a_save_that_fails(self, code):
    """One too large, in the background: the next save tells, or closing.

    Returns what was raised first, by tensorstore or, elsewhere, by the system.
    """
    large = state(4, ballast=jax.random.normal(jax.random.key(0), (2**18,)))
    told = rf"could not be saved in .*checkpoints: .*{os.strerror(code)}"
    self.save(2)
    for after in ([state(6)], []):
      with self.assertRaisesRegex(checkpoints.SaveError, told) as caught:
        with checkpoints.open_manager(self.workdir, 3) as manager:
          checkpoints.save(manager, large)
          for more in after:
            checkpoints.save(manager, more)
      self.assertEqual(caught.exception.errno, code)
      self.assertIsNotNone(files.remedy(caught.exception))
    # Threads of the save that failed may still write under its other name.
    self.assertEqual([x for x in self.found() if x.isdigit()], ["2"])
    return caught.exception.__cause__

  def test_a_file_that_may_not_grow_is_told_at_the_next_save(self):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, hard))
    try:
      first = self.check_a_save_that_fails(errno.EFBIG)
      self.assertIsInstance(first, ValueError)  # it only tells in words
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    chex.assert_trees_all_equal(self.restore(), state(2))

  def test_a_full_disk_is_told_at_the_next_save(self):
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", self.workdir]
    if subprocess.run(mount, capture_output=True).returncode:
      self.skipTest("a small disk can only be mounted by the superuser")
    try:
      self.check_a_save_that_fails(errno.ENOSPC)
      chex.assert_trees_all_equal(self.restore(), state(2))
    finally:
      subprocess.run(["umount", "--lazy", self.workdir], check=True)


if __name__ == "__main__":
  absltest.main()
