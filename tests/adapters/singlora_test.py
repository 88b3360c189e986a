"""Tests for simplex/adapters/singlora.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.adapters import adapter, lora, paths, singlora, targets
from tests.adapters import toy

ANY = targets.Config(patterns=(".*",), rank=8)
SING = toy.ADAPTERS["singlora"]  # its ramp ends at step 20


def change(base, tree, step):
  merged = SING.merge(base, tree, step)
  return paths.flatten(jax.tree.map(jnp.subtract, merged, base))


class SingloraTest(parameterized.TestCase):
  def test_one_matrix_gives_square_wide_and_tall_changes(self):
    base = toy.params()
    tree = toy.trained("singlora", base)
    found = change(base, tree, 20)
    for name, scale in (("up", 6 / 3), ("down", 6 / 2), ("query", 1.5 / 3)):
      a = np.asarray(tree[f"params/{name}/kernel"])
      d_in, d_out = toy.SHAPES[name]["kernel"]
      self.assertLen(a, max(d_in, d_out))
      np.testing.assert_allclose(
        found[f"params/{name}/kernel"],
        scale * a[:d_in] @ a[:d_out].T,
        atol=1e-5,
      )

  def test_a_square_change_is_symmetric_and_has_no_negative_eigenvalue(self):
    base = toy.params()
    tree = toy.trained("singlora", base)
    square = change(base, tree, 20)["params/query/kernel"]
    np.testing.assert_allclose(square, square.T, atol=1e-6)
    values = np.linalg.eigvalsh(square)
    np.testing.assert_allclose(values[:3], 0, atol=1e-6)
    self.assertGreater(values[3], 1e-3)

  def test_the_start_is_the_base(self):
    base = toy.params()
    tree = SING.init(jax.random.key(0), base)
    chex.assert_trees_all_equal(SING.merge(base, tree, 0), base)

  def test_the_change_grows_for_a_fraction_of_the_run(self):
    base = toy.params()
    tree = toy.trained("singlora", base)
    whole = change(base, tree, toy.NUM_STEPS)
    for step, share in ((5, 0.25), (10, 0.5), (20, 1.0), (21, 1.0)):
      part = jax.tree.map(lambda x, u=share: u * x, whole)
      chex.assert_trees_all_close(change(base, tree, step), part, atol=1e-6)

  def test_a_short_run_ramps_for_one_step(self):
    one = singlora.singlora(ANY, 10, ramp=0.01)
    base = {"kernel": jnp.zeros((4, 4))}
    tree = one.init(jax.random.key(0), base)
    (a,) = tree.values()
    merged = one.merge(base, tree, 1)["kernel"]
    np.testing.assert_allclose(merged, a @ a.T, rtol=1e-5)

  def test_the_gradient_is_that_of_the_paper_and_0_at_step_0(self):
    """dL/dA = alpha / r u (G + G^T) A, with G = dL/dW."""
    base = {"kernel": toy.params()["params"]["query"]["kernel"]}
    one = singlora.singlora(ANY, 4, ramp=1.0)
    tree = one.init(jax.random.key(0), base)
    cost = lambda params: jnp.sum(jnp.sin(params["kernel"] * jnp.arange(6.0)))
    of_tree = jax.jit(jax.grad(lambda tree, t: cost(one.merge(base, tree, t))))
    np.testing.assert_array_equal(of_tree(tree, 0)["kernel"], 0)
    g = jax.grad(cost)(one.merge(base, tree, 1))["kernel"]
    a = tree["kernel"]
    np.testing.assert_allclose(
      of_tree(tree, 1)["kernel"], 0.25 * (g + g.T) @ a, rtol=1e-4, atol=1e-6
    )

  @parameterized.parameters((1 / 3, 0.39), (2.0, 2.3))
  def test_the_change_starts_no_larger_than_a_kernel(self, variance, expected):
    """A default kernel of this size has a spectral norm of 1.15."""
    one = singlora.singlora(ANY, 1, variance=variance)
    kernel = jax.ShapeDtypeStruct((768, 768), jnp.float32)
    (a,) = one.init(jax.random.key(0), {"kernel": kernel}).values()
    self.assertEqual(a.shape, (768, 8))
    norm = np.linalg.norm(a, ord=2) ** 2
    np.testing.assert_allclose(norm, expected, rtol=0.05)

  def test_the_rank_as_fan_in_would_drown_the_kernel(self):
    """What initialisers for `[out, in]` make of A, `[n, r]`, in both ports."""
    trap = jax.nn.initializers.variance_scaling(
      1 / 3, "fan_in", "uniform", in_axis=-1, out_axis=-2
    )
    a = trap(jax.random.key(0), (768, 8))
    self.assertGreater(np.linalg.norm(a, ord=2) ** 2, 30)

  @parameterized.parameters(((768, 768), 0.5), ((768, 3072), 0.8))
  def test_the_saving_is_half_for_square_kernels_only(self, shape, share):
    base = {"kernel": jnp.zeros(shape)}
    sing, pair = (
      adapter.count(jax.eval_shape(one.init, jax.random.key(0), base))
      for one in (singlora.singlora(ANY, 1), lora.lora(ANY))
    )
    self.assertEqual(sing / pair, share)

  def test_a_finished_singlora_is_a_lora_of_the_same_rank(self):
    base = toy.params()
    tree = toy.trained("singlora", base)
    factors = SING.factors(base, tree, toy.NUM_STEPS)
    config = targets.Config(
      rank=3, alpha=3.0, ranks=toy.CONFIG.ranks, alphas=((".*down.*", 2.0),)
    )
    pairs = {path: lora.LowRank(*f[:2]) for path, f in factors.items()}
    plain = lora.lora(config)
    fresh = plain.init(jax.random.key(0), base)
    chex.assert_trees_all_equal_shapes_and_dtypes(pairs, fresh)
    chex.assert_trees_all_close(
      plain.merge(base, pairs, 0),
      SING.merge(base, tree, toy.NUM_STEPS),
      atol=1e-6,
    )

  @parameterized.parameters(
    (dict(num_steps=0), "num_steps=0 is not at least 1"),
    (dict(num_steps=9, ramp=1.5), r"ramp=1.5 is not in \[0, 1\]"),
    (dict(num_steps=9, ramp=-0.1), r"ramp=-0.1 is not in \[0, 1\]"),
  )
  def test_values_out_of_range_are_errors(self, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      singlora.singlora(ANY, **settings)


if __name__ == "__main__":
  absltest.main()
