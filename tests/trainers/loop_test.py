"""Tests for trainers/loop.py and trainers/scan.py."""

import dataclasses
import os
import signal

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

  def damage(self, step):
    for folder, _, names in os.walk(f"{self.workdir}/checkpoints/{step}"):
      for name in names:
        os.truncate(os.path.join(folder, name), 0)

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

  def test_a_loss_that_breaks_stops_the_run_and_keeps_the_checkpoint(self):
    with self.assertRaisesRegex(FloatingPointError, "nan at step 3"):
      self.fit(problem=toy.problem(break_at=3))
    with checkpoints.open_manager(self.workdir, 2) as manager:
      self.assertEqual(manager.latest_step(), 2)
    chex.assert_tree_all_finite(self.fit().params)

  def test_ctrl_c_saves_and_the_next_run_continues(self):
    def press(params, key):
      jax.debug.callback(lambda: os.kill(os.getpid(), signal.SIGINT))
      return toy.problem().evals["truth"](params, key)

    pressed = toy.problem()._replace(evals={"truth": press})
    with self.assertRaisesRegex(
      KeyboardInterrupt, "stopped and saved after step"
    ):
      self.fit(problem=pressed)
    with checkpoints.open_manager(self.workdir, 2) as manager:
      self.assertGreater(manager.latest_step(), 0)
    workdir = self.create_tempdir().full_path
    chex.assert_trees_all_equal(self.fit(), self.fit(workdir=workdir))

  def test_a_damaged_checkpoint_is_skipped_for_the_one_before(self):
    whole = self.fit()
    self.damage(6)
    with self.assertLogs(level="WARNING") as logs:
      chex.assert_trees_all_equal(self.fit(), whole)
    self.assertIn("checkpoint 6 cannot be read, skipped", str(logs.output))
    with self.assertNoLogs(level="WARNING"):
      chex.assert_trees_all_equal(self.fit(), whole)

  def test_a_run_whose_checkpoints_are_all_damaged_is_not_started_over(self):
    self.fit()
    for step in (4, 6):
      self.damage(step)
    with self.assertRaisesRegex(
      ValueError, "(?s)no checkpoint in .* start over"
    ):
      self.fit()

  def test_a_checkpoint_is_loaded_and_nothing_on_the_disk_changes(self):
    problem = toy.problem()
    shapes = jax.eval_shape(lambda key: init_state(problem, TX, key), KEY)
    load = lambda: checkpoints.load(self.workdir, shapes)
    with self.assertRaisesRegex(ValueError, "no checkpoint in .*checkpoints$"):
      load()
    self.assertEqual(os.listdir(self.workdir), [])
    state = self.fit()
    chex.assert_trees_all_equal(load(), state)
    self.assertLen(load().params["w"].devices(), 1)
    self.damage(6)
    self.assertEqual(load().step, 4)
    self.assertIn("6", os.listdir(f"{self.workdir}/checkpoints"))

  def test_devices_do_not_change_the_numbers(self):
    problem, key = toy.problem(), jax.random.key(0)
    losses = []
    for count in (1, 4):
      mesh = jax.sharding.Mesh(jax.devices()[:count], ("data",))
      with jax.set_mesh(mesh):
        run = loop.compile_run(problem, TX, mesh)
        state, rows = run.step(run.init(key))
        losses.append([rows["loss"], run.step(state)[1]["loss"]])
    np.testing.assert_allclose(*losses, rtol=1e-6)

  def test_many_steps_on_many_devices_do_not_wait_for_each_other(self):
    config = loop.Config(num_steps=200, log_every=1000, eval_every=1000)
    self.assertEqual(self.fit(config).step, 200)

  def test_a_batch_that_does_not_divide_is_refused(self):
    with self.assertRaisesRegex(ValueError, "batch of 6 .* multiple of 4"):
      self.fit(problem=toy.problem(batch_size=6))

  def test_a_period_of_zero_is_refused(self):
    with self.assertRaisesRegex(ValueError, "save_every=0 must be"):
      loop.Config(save_every=0)


class ShardingTest(chex.TestCase):
  def test_an_array_is_split_where_it_divides_and_copied_where_not(self):
    self.assertEqual(
      sharding.split(np.zeros((8, 3))).sharding.spec, jax.P("data")
    )
    self.assertEqual(sharding.split(np.zeros((6, 3))).sharding.spec, jax.P())

  def test_large_parameters_are_split_and_small_ones_copied(self):
    mesh = sharding.make_mesh()
    state = init_state(toy.problem(), TX, jax.random.key(0))
    large = jax.ShapeDtypeStruct((256, 1024), "float32")
    state = state._replace(params={"large": large, **state.params})
    specs = sharding.of_state(state, mesh)
    self.assertEqual(specs.params["large"].spec, jax.P(None, "data"))
    self.assertEqual(specs.params["w"].spec, jax.P())

  def test_a_source_of_groups_is_split_by_group(self):
    mesh = sharding.make_mesh()
    state = init_state(toy.problem(), TX, jax.random.key(0))
    groups = {"key": np.zeros((8, 2)), "rows": np.zeros((8, 3, 5))}
    specs = sharding.of_state(state._replace(source=groups), mesh).source
    self.assertEqual(specs["rows"].spec, jax.P("data"))
    self.assertEqual(sharding.of_state(state, mesh).source.key.spec, jax.P())


if __name__ == "__main__":
  absltest.main()
