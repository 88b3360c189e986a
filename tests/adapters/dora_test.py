"""Tests for simplex/adapters/dora.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.adapters import paths
from tests.adapters import toy

NAMES = ("dora", "dora of a chain")


class DoraTest(parameterized.TestCase):
  @parameterized.parameters(*NAMES)
  def test_the_start_is_the_base(self, name):
    base, one = toy.params(), toy.ADAPTERS[name]
    tree = one.init(jax.random.key(0), base)
    chex.assert_trees_all_close(one.merge(base, tree, 0), base, rtol=1e-6)

  @parameterized.parameters(*NAMES)
  def test_norms_are_the_magnitudes_and_directions_those_inside(self, name):
    base = toy.params()
    tree = toy.trained(name, base)
    merged = paths.flatten(toy.ADAPTERS[name].merge(base, tree, 9))
    inside = toy.ADAPTERS["lora" if name == "dora" else "chain"]
    plain = paths.flatten(inside.merge(base, tree["inner"], 9))
    for path, magnitude in tree["magnitude"].items():
      norm = np.linalg.norm(plain[path], axis=-2)
      np.testing.assert_allclose(
        merged[path],
        plain[path] * (magnitude / norm)[..., None, :],
        rtol=1e-4,
        atol=1e-5,
      )

  def test_norms_are_constants_to_the_gradient(self):
    base, one = toy.params(), toy.ADAPTERS["dora"]
    tree = toy.trained("dora", base)

    def size(tree):
      kernel = one.merge(base, tree, 0)["params"]["up"]["kernel"]
      return jnp.sum(kernel**2)

    path = "params/up/kernel"
    m = tree["magnitude"][path]
    np.testing.assert_allclose(size(tree), jnp.sum(m**2), rtol=1e-5)
    grads = jax.jit(jax.grad(size))(tree)
    np.testing.assert_allclose(grads["magnitude"][path], 2 * m, rtol=1e-4)
    # The size does not depend on it, so the full gradient would be 0.
    self.assertGreater(jnp.abs(grads["inner"][path].b).max(), 0.1)

  def test_a_column_of_zeros_stays_without_nan(self):
    one = toy.ADAPTERS["dora"]
    base = jax.tree.map(jnp.zeros_like, toy.params())
    tree = one.init(jax.random.key(0), base)
    chex.assert_trees_all_equal(one.merge(base, tree, 0), base)


if __name__ == "__main__":
  absltest.main()
