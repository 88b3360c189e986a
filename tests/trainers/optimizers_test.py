"""Tests for trainers/optimizers.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.adapters import paths
from tests.adapters import toy as adapters
from trainers import optimizers

PARAMS = {
  "embed": {"embedding": jnp.ones((4, 2))},
  "dense": {"kernel": jnp.ones((2, 2))},
}


def first_update(config, params=PARAMS):
  tx = optimizers.make(config, 10)
  grads = jax.tree.map(jnp.ones_like, params)
  return tx.update(grads, tx.init(params), params)[0]


class OptimizersTest(parameterized.TestCase):
  @parameterized.parameters(*optimizers.OPTIMIZERS)
  def test_every_optimiser_descends(self, name):
    updates = first_update(optimizers.Config(name=name))
    chex.assert_tree_all_finite(updates)
    self.assertLess(max(u.max() for u in jax.tree.leaves(updates)), 0)

  def test_kernel_scale_slows_matrices_alone(self):
    plain = first_update(optimizers.Config())
    scaled = first_update(optimizers.Config(kernel_scale=0.25))
    chex.assert_trees_all_close(scaled["embed"], plain["embed"])
    chex.assert_trees_all_close(
      scaled["dense"]["kernel"], 0.25 * plain["dense"]["kernel"]
    )

  @parameterized.parameters("adamw", "lion", "muon", "row_adam")
  def test_matrices_alone_decay(self, name):
    params = PARAMS | {"norm": {"scale": jnp.ones((3, 2))}}
    plain = first_update(optimizers.Config(name=name), params)
    decayed = first_update(optimizers.Config(name=name, weight_decay=1), params)
    chex.assert_trees_all_equal(decayed["norm"], plain["norm"])
    for matrix in (*plain["embed"], "kernel"):
      pick = lambda tree, matrix=matrix: (tree["embed"] | tree["dense"])[matrix]
      self.assertTrue((pick(decayed) < pick(plain)).all())

  @parameterized.parameters(*adapters.ADAPTERS)
  def test_the_factors_of_adapters_decay_and_magnitudes_do_not(self, name):
    base = adapters.params()
    tree = adapters.trained(name, base)
    plain = first_update(optimizers.Config(), tree)
    decayed = first_update(optimizers.Config(weight_decay=1), tree)
    for path, update in paths.flatten(decayed).items():
      moved = np.any(update != paths.flatten(plain)[path])
      self.assertEqual(moved, not path.startswith("magnitude"), path)

  def test_clipping_bounds_the_gradient(self):
    config = optimizers.Config(name="sgd", b1=0.0, learning_rate=1.0)
    updates = first_update(config)
    norm = sum(jnp.sum(u**2) for u in jax.tree.leaves(updates)) ** 0.5
    np.testing.assert_allclose(norm, 1.0, rtol=1e-5)

  @parameterized.parameters("constant", "cosine", "linear")
  def test_schedules_warm_up_to_the_peak(self, name):
    config = optimizers.Config(schedule=name, warmup_steps=4)
    rate = optimizers.schedule(config, 10)
    np.testing.assert_allclose(rate(0), 0.0)
    np.testing.assert_allclose(rate(2), 0.5e-3, rtol=1e-5)
    np.testing.assert_allclose(rate(4), 1e-3, rtol=1e-5)
    last = 1e-3 if name == "constant" else 0.0
    np.testing.assert_allclose(rate(10), last, atol=1e-9)

  @parameterized.parameters("cosine", "linear")
  def test_a_decay_may_end_above_zero(self, name):
    config = optimizers.Config(schedule=name, final_rate=0.05)
    rate = optimizers.schedule(config, 10)
    np.testing.assert_allclose(rate(0), 1e-3, rtol=1e-5)
    np.testing.assert_allclose(rate(10), 5e-5, rtol=1e-5)


if __name__ == "__main__":
  absltest.main()
