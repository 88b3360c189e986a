"""Tests for trainers/planning.py, rehearsal.py, and what prints a plan."""

import os

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import optax

from launch import dry_run
from tests.trainers import toy
from trainers import loop, planning, rehearsal, sharding

WIDTH = 1024
TX = optax.adam(0.1)


def wide():
  """The toy, with a parameter large enough to be split."""
  base = toy.problem(batch_size=24)
  init = lambda key: base.init(key) | {"wide": jnp.ones((toy.WIDTH, WIDTH, 64))}

  def loss(params, batch, *, key, step):
    value, metrics = base.loss(params, batch, key=key, step=step)
    hidden = batch["x"] @ params["wide"].reshape(toy.WIDTH, -1)
    return value + jnp.mean(jnp.tanh(hidden)), metrics

  return base._replace(init=init, loss=loss)


class PlanningTest(chex.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.plan = planning.make(wide(), TX, loop.Config(), sharding.make_mesh())

  def test_a_large_parameter_is_split_over_the_devices(self):
    small, large = sorted(self.plan.leaves, key=lambda x: x.bytes)
    self.assertEqual((small.path, small.bytes), ("w", 4 * toy.WIDTH))
    self.assertEqual(large.path, "wide")
    self.assertEqual(large.bytes, 4 * toy.WIDTH * WIDTH * 64 // 4)
    self.assertEmpty(self.plan.whole)
    self.assertEqual(self.plan.parameters, toy.WIDTH * (1 + WIDTH * 64))

  def test_the_optimizer_takes_twice_the_parameters(self):
    memory = self.plan.memory
    self.assertAlmostEqual(memory.optimizer / memory.parameters, 2, places=3)
    self.assertGreater(memory.temporary, 0)
    self.assertEqual(memory.total, sum(memory))

  def test_devices_tell_each_other_of_parameters_and_not_of_rows(self):
    kinds = {x.kind for x in self.plan.collectives}
    self.assertContainsSubset({"all-gather", "all-reduce"}, kinds)
    self.assertEmpty(self.plan.gathered)

  def test_flops_are_those_of_the_model(self):
    product = 2 * 24 * toy.WIDTH * (1 + WIDTH * 64)
    self.assertEqual(self.plan.flops, {"float32": 3 * product})
    self.assertEqual(self.plan.ideal_seconds, 0)

  def test_the_text_says_all_of_it(self):
    text = dry_run.describe(self.plan, here=True)
    for line in (
      "wide       4x1024x64  float32",
      "262,148 parameters; every large one is split",
      "what a cpu device has is not known",
      "a step: x 24x4, y 24",
      "no batch is put together on any device",
      "compiled for 4 x cpu (data=4, model=1), which are here",
    ):
      self.assertIn(line, text)

  def test_what_does_not_fit_and_what_is_not_split_is_said(self):
    whole = self.plan.leaves[1]._replace(bytes=4 * toy.WIDTH * WIDTH * 64)
    plan = self.plan._replace(
      leaves=[whole],
      capacity=2**20,
      gathered=self.plan.collectives[:1],
      tokens=100,
      ideal_seconds=0.5,
    )
    text = dry_run.describe(plan, here=False)
    self.assertIn("does NOT fit into 1 MiB", text)
    self.assertIn("large and whole on every device: wide", text)
    self.assertIn("a batch is put together on every device: all-", text)
    self.assertIn("100 tokens; 6 x parameters x tokens is 1.573e+08", text)
    self.assertIn("500 ms, were all devices at their peak", text)
    self.assertIn("not run on them", text)

  def test_a_source_that_is_not_split_gathers_its_batch(self):
    mesh, problem = sharding.make_mesh(), toy.problem()

    @jax.jit
    def gather(x_BE):
      x_BE = jax.lax.with_sharding_constraint(
        x_BE, jax.NamedSharding(mesh, jax.P("data"))
      )
      whole = jax.NamedSharding(mesh, jax.P())
      return jax.lax.with_sharding_constraint(jnp.sin(x_BE), whole).sum()

    def loss(params, batch, *, key, step):
      value, metrics = problem.loss(params, batch, key=key, step=step)
      return value + gather(batch["x"]), metrics

    plan = planning.make(problem._replace(loss=loss), TX, loop.Config(), mesh)
    self.assertNotEmpty(plan.gathered)


class RehearsalTest(chex.TestCase):
  def test_a_training_is_asked_for_and_nothing_is_written(self):
    workdir = self.create_tempdir().full_path
    problem, config = toy.problem(), loop.Config()
    with rehearsal.instead_of_training(lambda training: training):
      training = loop.fit(problem, TX, config, workdir)
    self.assertEqual(training, (problem, TX, config))
    self.assertEmpty(os.listdir(workdir))
    self.assertIsNone(rehearsal.instead())


if __name__ == "__main__":
  absltest.main()
