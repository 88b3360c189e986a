"""Tests for simplex/adapters/lora.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.adapters import lora, targets
from tests.adapters import toy

PATH = "params/up/kernel"


class LoraTest(chex.TestCase):
  def test_the_start_is_the_base(self):
    base, one = toy.params(), toy.ADAPTERS["lora"]
    tree = one.init(jax.random.key(0), base)
    chex.assert_trees_all_equal(one.merge(base, tree, 0), base)

  def test_the_change_is_alpha_over_r_times_a_b(self):
    base = toy.params()
    tree = toy.trained("lora", base)
    merged = toy.ADAPTERS["lora"].merge(base, tree, 0)["params"]
    for name, scale in (("up", 6 / 3), ("down", 6 / 2), ("query", 1.5 / 3)):
      a, b = tree[f"params/{name}/kernel"]
      change = merged[name]["kernel"] - base["params"][name]["kernel"]
      np.testing.assert_allclose(change, scale * a @ b.T, atol=1e-5)

  def test_entries_of_a_fill_their_range(self):
    """Those of PEFT: uniform between -1/sqrt(d_in) and 1/sqrt(d_in)."""
    base = {"kernel": jnp.zeros((2, 100, 30), jnp.bfloat16)}
    one = lora.lora(targets.Config(patterns=("kernel",), rank=16))
    a, b = one.init(jax.random.key(0), base)["kernel"]
    self.assertBetween(float(jnp.abs(a).max()), 0.099, 0.1)
    np.testing.assert_allclose(a.std(), 0.1 / 3**0.5, rtol=0.05)
    self.assertEqual((a.shape, b.shape), ((2, 100, 16), (2, 30, 16)))
    self.assertEqual((a.dtype, b.dtype), (jnp.float32, jnp.float32))
    self.assertTrue(np.any(a[0] != a[1]))

  def test_b_learns_faster_in_lora_plus(self):
    tx = optax.partition(
      {"slow": optax.sgd(0.25), "fast": optax.sgd(16 * 0.25)},
      lora.plus_labels,
    )
    for name in ("lora", "dora"):
      tree = toy.trained(name, toy.params())
      ones = jax.tree.map(jnp.ones_like, tree)
      moved, _ = tx.update(ones, tx.init(tree))
      pair = (moved["inner"] if name == "dora" else moved)[PATH]
      np.testing.assert_array_equal(pair.a, -0.25)
      np.testing.assert_array_equal(pair.b, -4.0)
    np.testing.assert_array_equal(moved["magnitude"][PATH], -0.25)


if __name__ == "__main__":
  absltest.main()
