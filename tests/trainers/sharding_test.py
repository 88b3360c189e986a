"""Tests for trainers/sharding.py, on the four devices of conftest."""

from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
from jax.sharding import AxisType
import numpy as np
import optax

from tests.trainers import toy
from trainers import loop, scan, sharding
from trainers.step import init_state

TX = optax.adam(0.1)
KEY = jax.random.key(0)
LARGE = (512, 1024)


def specs_of(params, tx=TX, mesh=None):
  """The specs of parameters of these shapes, and those of their optimiser."""
  problem = toy.problem()._replace(
    init=lambda key: jax.tree.map(
      jnp.zeros, params, is_leaf=lambda x: isinstance(x, tuple)
    )
  )
  shapes = jax.eval_shape(lambda key: init_state(problem, tx, key), KEY)
  state = sharding.of_state(shapes, mesh or sharding.make_mesh(2))
  return jax.tree.map(lambda x: x.spec, state)


class MeshTest(chex.TestCase):
  def test_all_devices_are_on_two_axes(self):
    self.assertEqual(sharding.make_mesh().shape, {"data": 4, "model": 1})
    self.assertEqual(sharding.make_mesh(2).shape, {"data": 2, "model": 2})

  @parameterized.parameters(0, 3, 8)
  def test_a_number_that_does_not_divide_is_refused_with_those_that_do(self, n):
    message = rf"^{n} does not divide the 4 devices; use one of \[1, 2, 4\]$"
    with self.assertRaisesRegex(ValueError, message):
      sharding.make_mesh(n)

  def test_a_mesh_around_is_taken_and_made_where_there_is_none(self):
    self.assertEqual(sharding.ambient_mesh().shape["model"], 1)
    with jax.set_mesh(sharding.make_mesh(4)):
      self.assertEqual(sharding.ambient_mesh().shape["model"], 4)

  @parameterized.parameters(
    (("data", "rows"), AxisType.Auto), (sharding.AXES, AxisType.Explicit)
  )
  def test_a_mesh_around_of_another_kind_is_refused(self, names, kind):
    with jax.set_mesh(jax.make_mesh((2, 2), names, (kind,) * 2)):
      message = r"has not the axes \('data', 'model'\), both of type Auto"
      with self.assertRaisesRegex(ValueError, message):
        sharding.ambient_mesh()


class RulesTest(chex.TestCase):
  @parameterized.parameters(
    ("layer_0/mixer/query/kernel", LARGE, ("data", "model")),
    ("layer_0/mixer/key_1/kernel", LARGE, ("data", "model")),
    ("layer_0/mixer/out/kernel", LARGE, ("model", "data")),
    ("layer_0/feed_forward/gate/kernel", LARGE, ("data", "model")),
    ("layers/feed_forward/down/kernel", (8, *LARGE), (None, "model", "data")),
    ("embed/embedding", LARGE, ("model", "data")),
    ("head/kernel", LARGE, ("data", "model")),
    # Small: over the model alone. What does not divide: whole.
    ("layer_0/mixer/query/kernel", (8, 8), (None, "model")),
    ("embed/embedding", (257, 1024), (None, "data")),
    ("head/kernel", (1023, 512), (None, "model")),
    ("layer_0/mixer/query/kernel", (513, 513), (None, None)),
    # No rule: the largest axis that divides, if it is large.
    ("conv/kernel", (3, 256, 1023), (None, "data", None)),
    ("norm/scale", (512,), (None,)),
    ("head/kernel", (2**17,), ("data",)),
  )
  def test_a_path_decides_where_an_array_is_split(self, path, shape, expected):
    params = shape
    for name in reversed(path.split("/")):
      params = {name: params}
    (spec,) = jax.tree.leaves(specs_of(params).params)
    self.assertEqual(spec, jax.P(*expected))

  def test_the_optimiser_is_split_as_its_parameters_are(self):
    params = {
      "head": {"kernel": LARGE},
      "norm": {"scale": (512,)},
      "plain": (1024, 256),
    }
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3))
    specs = specs_of(params, tx)
    _, (adam, *_) = specs.opt_state
    chex.assert_trees_all_equal(adam.mu, specs.params)
    chex.assert_trees_all_equal(adam.nu, specs.params)
    self.assertEqual(adam.count, jax.P())
    self.assertEqual(specs.params["plain"], jax.P("data", None))

  @parameterized.parameters(1, 2)
  def test_a_source_of_groups_is_split_by_group(self, model):
    mesh = sharding.make_mesh(model)
    state = init_state(toy.problem(), TX, KEY)
    groups = {"key": np.zeros((4, 2)), "rows": np.zeros((4, 3, 5))}
    specs = sharding.of_state(state._replace(source=groups), mesh).source
    self.assertEqual(specs["rows"].spec, jax.P("data"))
    self.assertEqual(sharding.of_state(state, mesh).source.key.spec, jax.P())


class PlaceTest(chex.TestCase):
  def test_an_array_is_split_over_all_devices_if_it_divides_among_them(self):
    for mesh in (sharding.make_mesh(), sharding.make_mesh(2)):
      with jax.set_mesh(mesh):
        halves = sharding.split(np.zeros((8, 3)))
        self.assertEqual(halves.addressable_shards[0].data.shape, (2, 3))
        self.assertTrue(
          sharding.split(np.zeros((6, 3))).sharding.is_fully_replicated
        )

  def test_a_sweep_uses_all_devices_of_a_mesh_of_two_axes(self):
    run = lambda key: scan.fit(toy.problem(), TX, key, 2)[1]["loss"]
    keys = jax.random.split(KEY, 6)
    plain = scan.sweep(run, keys)
    with jax.set_mesh(sharding.make_mesh(2)):
      np.testing.assert_allclose(scan.sweep(run, keys), plain, rtol=1e-6)

  def test_split_parameters_train_and_are_evaluated_as_whole_ones(self):
    problem = toy.problem()
    results = []
    for least in (1, 2**16):
      mesh = sharding.make_mesh()
      with (
        mock.patch.object(sharding, "MIN_SHARDED_SIZE", least),
        jax.set_mesh(mesh),
      ):
        run = loop.compile_run(problem, TX, loop.Config(), mesh)
        state, metrics = run.step(run.init(KEY))
        split = not state.params["w"].sharding.is_fully_replicated
        self.assertEqual(split, least == 1)
        results.append((state, metrics, run.evaluate(state)))
    chex.assert_trees_all_close(*results, rtol=1e-5)

  def test_a_sampled_batch_is_made_where_it_trains(self):
    mesh = sharding.make_mesh()
    with jax.set_mesh(mesh):
      run = loop.compile_run(toy.problem(), TX, loop.Config(), mesh)
      program = run.step.lower(run.init(KEY)).compile().as_text()
    self.assertIn("all-reduce", program)
    for collective in ("all-gather", "all-to-all", "collective-permute"):
      self.assertNotIn(collective, program)

  def test_the_memory_of_a_state_is_given_to_the_next(self):
    mesh = sharding.make_mesh()
    with jax.set_mesh(mesh):
      run = loop.compile_run(toy.problem(), TX, loop.Config(), mesh)
      state = run.init(KEY)
      places = state.params["w"].addressable_data(0).unsafe_buffer_pointer()
      after, _ = run.step(state)
    self.assertTrue(all(x.is_deleted() for x in jax.tree.leaves(state)))
    again = after.params["w"].addressable_data(0).unsafe_buffer_pointer()
    self.assertEqual(again, places)

  @parameterized.parameters((6, 1, 4), (8, 4, 16))
  def test_a_batch_that_does_not_divide_is_refused(self, size, parts, multiple):
    message = (
      rf"a batch of {size} \('x'\) does not divide among 4 devices in {parts} "
      f"microbatches; use a multiple of {multiple}"
    )
    with self.assertRaisesRegex(ValueError, message):
      loop.compile_run(
        toy.problem(batch_size=size),
        TX,
        loop.Config(accumulate=parts),
        sharding.make_mesh(),
      )


if __name__ == "__main__":
  absltest.main()
