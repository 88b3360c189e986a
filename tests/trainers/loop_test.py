"""Tests for trainers/loop.py and trainers/scan.py."""

import dataclasses
import errno
import os
import signal
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from tests.trainers import toy
from trainers import checkpoints, loop, metrics, scan, sharding
from trainers.step import init_state

CONFIG = loop.Config(num_steps=6, log_every=1, eval_every=3, save_every=2)
TX = optax.adam(0.1)
KEY = jax.random.key(0)


class LoopTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.workdir = self.create_tempdir().full_path

  def fit(self, config=CONFIG, problem=None, workdir=None):
    return loop.fit(
      problem or toy.problem(), TX, config, workdir or self.workdir
    )

  def test_a_resumed_run_equals_an_uninterrupted_run(self):
    whole = self.fit()
    steps, losses = metrics.read(self.workdir, "loss")
    workdir = self.create_tempdir().full_path
    self.fit(dataclasses.replace(CONFIG, num_steps=3), workdir=workdir)
    chex.assert_trees_all_equal(self.fit(workdir=workdir), whole)
    again, resumed_losses = metrics.read(workdir, "loss")
    np.testing.assert_array_equal(again, steps)
    np.testing.assert_array_equal(resumed_losses, losses)

  def test_a_finished_run_trains_no_further(self):
    chex.assert_trees_all_equal(self.fit(), self.fit())

  def test_scan_equals_loop(self):
    looped = self.fit()
    scanned, rows, evals = scan.fit(
      toy.problem(), TX, jax.random.key(0), 6, eval_every=3
    )
    chex.assert_trees_all_close(scanned, looped, rtol=1e-5)
    _, losses = metrics.read(self.workdir, "loss")
    np.testing.assert_allclose(rows["loss"], losses, rtol=1e-5)
    steps, distances = metrics.read(self.workdir, "truth/distance")
    np.testing.assert_array_equal(steps, [0, 3, 6])
    np.testing.assert_allclose(evals["truth/distance"], distances, rtol=1e-5)

  @parameterized.parameters(1, 2)
  def test_a_sweep_equals_its_runs_one_by_one(self, at_once):
    run = lambda key: scan.fit(toy.problem(), TX, key, 4)[1]["loss"]
    keys = jax.random.split(jax.random.key(0), 6)  # on four devices
    losses_NT = scan.sweep(run, keys, at_once=at_once)
    expected_NT = np.stack([run(key) for key in keys])
    np.testing.assert_allclose(losses_NT, expected_NT, rtol=1e-5)
    self.assertGreater(np.ptp(losses_NT[:, 0]), 0)

  def test_what_a_sweep_shares_is_whole_for_every_setting(self):
    sums = scan.sweep(lambda x, y: x + y.sum(), jnp.arange(3.0), jnp.ones(5))
    np.testing.assert_array_equal(sums, [5, 6, 7])

  def test_scan_refuses_a_period_that_does_not_divide(self):
    with self.assertRaisesRegex(ValueError, "eval_every=4 does not divide"):
      scan.fit(toy.problem(), TX, jax.random.key(0), 6, eval_every=4)

  def test_seeds_differ(self):
    one = init_state(toy.problem(), TX, jax.random.key(0))
    two = init_state(toy.problem(), TX, jax.random.key(1))
    self.assertGreater(np.abs(one.params["w"] - two.params["w"]).max(), 0)

  def latest(self):
    with checkpoints.open_manager(self.workdir, 2) as manager:
      return manager.latest_step()

  def test_a_loss_that_breaks_stops_the_run_and_keeps_the_checkpoint(self):
    with self.assertRaisesRegex(FloatingPointError, "nan at step 3"):
      self.fit(problem=toy.problem(break_at=(3,)))
    self.assertEqual(self.latest(), 2)
    chex.assert_tree_all_finite(self.fit().params)

  def test_a_broken_state_is_not_saved_though_no_row_shows_it(self):
    config = dataclasses.replace(CONFIG, log_every=100, save_every=100)
    for break_at, last in ((3, 4), (5, 6)):
      with self.assertRaisesRegex(
        FloatingPointError, f"nan at step {last - 1}"
      ):
        self.fit(
          dataclasses.replace(config, save_every=last),
          toy.problem(break_at=(break_at,)),
        )
      self.assertIsNone(self.latest())

  def test_a_broken_step_is_undone_and_counted(self):
    config = dataclasses.replace(CONFIG, on_non_finite="skip")
    state = self.fit(config, toy.problem(break_at=(2, 3)))
    chex.assert_tree_all_finite(state)
    np.testing.assert_array_equal(state.skipped, [2, 0])
    self.assertEqual(state.opt_state[0].count, 4)  # Adam's own count of steps
    named = {
      name: metrics.read(self.workdir, name)[1].tolist()
      for name in ("skipped", "skipped_in_a_row")
    }
    self.assertEqual(named["skipped"], [0, 0, 1, 2, 2, 2])
    self.assertEqual(named["skipped_in_a_row"], [0, 0, 1, 2, 0, 0])

  def test_skipping_changes_nothing_where_nothing_breaks(self):
    config = dataclasses.replace(CONFIG, on_non_finite="skip")
    workdir = self.create_tempdir().full_path
    chex.assert_trees_all_close(
      self.fit(config), self.fit(workdir=workdir), rtol=1e-6
    )

  def test_too_many_broken_steps_in_a_row_stop_the_run(self):
    config = dataclasses.replace(CONFIG, on_non_finite="skip", max_skipped=2)
    with self.assertRaisesRegex(
      FloatingPointError, "nan at step 4, 3 times in a row"
    ):
      self.fit(config, toy.problem(break_at=(2, 3, 4)))

  def test_a_checkpoint_is_written_when_the_last_is_old(self):
    config = dataclasses.replace(CONFIG, save_every=100, save_seconds=1e-9)
    self.fit(config)
    folders = os.listdir(f"{self.workdir}/checkpoints")
    self.assertEqual(set(folders), {"5", "6"})
    np.testing.assert_array_equal(
      metrics.read(self.workdir, "loss")[0], range(6)
    )

  def test_a_save_that_fails_ends_the_run(self):
    seal = mock.patch.object(
      checkpoints, "_seal", side_effect=OSError(errno.ENOSPC, "full")
    )
    with seal, self.assertRaisesRegex(checkpoints.SaveError, "full"):
      self.fit()
    self.assertIsNone(self.latest())

  def test_ctrl_c_saves_and_the_next_run_continues(self):
    def press(params, key):
      jax.debug.callback(lambda: os.kill(os.getpid(), signal.SIGINT))
      return toy.problem().evals["truth"](params, key)

    pressed = toy.problem()._replace(evals={"truth": press})
    with self.assertRaisesRegex(
      KeyboardInterrupt, "stopped and saved after step"
    ):
      self.fit(problem=pressed)
    self.assertGreater(self.latest(), 0)
    workdir = self.create_tempdir().full_path
    chex.assert_trees_all_equal(self.fit(), self.fit(workdir=workdir))

  def test_a_run_whose_newest_checkpoint_is_damaged_makes_it_again(self):
    whole = self.fit()
    folder = f"{self.workdir}/checkpoints/6/default/d"
    for name in os.listdir(folder):
      os.truncate(f"{folder}/{name}", 0)
    with self.assertLogs(level="WARNING") as logs:
      chex.assert_trees_all_equal(self.fit(), whole)
    self.assertIn("checkpoint 6 cannot be read, skipped", str(logs.output))
    with self.assertNoLogs(level="WARNING"):
      chex.assert_trees_all_equal(self.fit(), whole)

  def test_a_checkpoint_is_loaded_on_one_device(self):
    problem = toy.problem()
    shapes = jax.eval_shape(lambda key: init_state(problem, TX, key), KEY)
    load = lambda: checkpoints.load(self.workdir, shapes)
    with self.assertRaisesRegex(ValueError, "no checkpoint in .*checkpoints$"):
      load()
    self.assertEqual(os.listdir(self.workdir), [])
    state = self.fit()
    chex.assert_trees_all_equal(load(), state)
    self.assertLen(load().params["w"].devices(), 1)

  def test_devices_do_not_change_the_numbers(self):
    problem, key = toy.problem(), jax.random.key(0)
    losses = []
    for count in (1, 4):
      devices = np.reshape(jax.devices()[:count], (count, 1))
      mesh = jax.sharding.Mesh(devices, sharding.AXES)
      with jax.set_mesh(mesh):
        run = loop.compile_run(problem, TX, loop.Config(), mesh)
        state, rows = run.step(run.init(key))
        losses.append([rows["loss"], run.step(state)[1]["loss"]])
    np.testing.assert_allclose(*losses, rtol=1e-6)

  def test_many_steps_on_many_devices_do_not_wait_for_each_other(self):
    config = loop.Config(num_steps=200, log_every=1000, eval_every=1000)
    self.assertEqual(self.fit(config).step, 200)

  def test_a_batch_that_does_not_divide_is_refused(self):
    with self.assertRaisesRegex(ValueError, "batch of 6 .* multiple of 4"):
      self.fit(problem=toy.problem(batch_size=6))

  @parameterized.parameters(
    (dict(save_every=0), "save_every=0 must be at least 1"),
    (dict(max_skipped=0), "max_skipped=0 must be at least 1"),
    (dict(save_seconds=0.0), "save_seconds=0.0 must be above 0"),
    (dict(on_non_finite="go"), "'go' is not one of .'stop', 'skip'"),
  )
  def test_settings_that_cannot_be_are_refused(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      loop.Config(**fields)


if __name__ == "__main__":
  absltest.main()
