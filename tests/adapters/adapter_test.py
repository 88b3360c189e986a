"""Tests for simplex/adapters/adapter.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.adapters import adapter, lora, paths, singlora, targets
from tests.adapters import toy

STEP = 7  # within the ramp
EVERY = tuple(toy.ADAPTERS)


def dense(x, kernel, factors):
  return x @ adapter.change(kernel, factors)


def loss(form, name, tree, base):
  """Of the changed kernels, each with inputs of its own."""
  total = 0.0
  for path, f in toy.ADAPTERS[name].factors(base, tree, STEP).items():
    kernel = paths.flatten(base)[path]
    *stack, d_in, _ = kernel.shape
    x = jnp.cos(jnp.arange(4 * d_in, dtype=kernel.dtype)).reshape(4, d_in)
    each = functools.partial(form, x)
    y = (jax.vmap(each) if stack else each)(kernel, f)
    total += jnp.sum(y**2)  # no cancellation, which would lose digits
  return total


def deviation(one, two):
  """Largest relative distance of two leaves."""
  size = lambda x: np.linalg.norm(x) + 1e-30  # biases have no gradient
  far = lambda x, y: np.linalg.norm(x - y) / size(y)
  return max(jax.tree.leaves(jax.tree.map(far, one, two)))


def shapes_inside(fn, *args):
  """Of all that a function computes."""
  found, todo = set(), [jax.make_jaxpr(fn)(*args).jaxpr]
  while todo:
    for equation in todo.pop().eqns:
      found |= {v.aval.shape for v in equation.outvars}
      inner = (getattr(p, "jaxpr", None) for p in equation.params.values())
      todo += [jaxpr for jaxpr in inner if jaxpr is not None]
  return found


class ProjectTest(parameterized.TestCase):
  @parameterized.product(name=EVERY, bound=(1e-6, 1e-12))
  def test_thin_products_equal_the_dense_form_and_so_do_gradients(
    self, name, bound
  ):
    with jax.enable_x64(bound < 1e-6):
      base = toy.params(dtype=jnp.float64 if bound < 1e-6 else jnp.float32)
      tree = toy.trained(name, base)
      thin, formed = (
        jax.jit(jax.value_and_grad(functools.partial(loss, form, name), (0, 1)))
        for form in (adapter.project, dense)
      )
      self.assertLess(deviation(thin(tree, base), formed(tree, base)), bound)

  @parameterized.parameters("lora", "singlora")
  def test_a_step_never_forms_the_product(self, name):
    kernel, x = jnp.ones((7, 5)), jnp.ones((4, 7))
    one = toy.ADAPTERS[name]
    base = {"query/down/kernel": kernel}
    tree = one.init(jax.random.key(0), base)

    def step(form, tree):
      (f,) = one.factors(base, tree, STEP).values()
      return jnp.sum(form(x, kernel, f) ** 2)

    thin, formed = (
      shapes_inside(jax.grad(functools.partial(step, form)), tree)
      for form in (adapter.project, dense)
    )
    self.assertContainsSubset({(7, 5)}, formed)
    self.assertNoCommonElements({(7, 5), (5, 7), (7, 7)}, thin)

  def test_dropout_hides_inputs_from_the_change_alone(self):
    kernel = jnp.eye(3)
    x = jnp.ones((10_000, 3))
    f = adapter.Factors(jnp.eye(3), 2 * jnp.eye(3))
    y = adapter.project(x, kernel, f, dropout=0.75, key=jax.random.key(0))
    self.assertSequenceEqual(np.unique(y).tolist(), [1, 9])
    np.testing.assert_allclose(y.mean(), 3, rtol=0.02)
    plain = adapter.project(x, kernel, f, dropout=0.75)
    np.testing.assert_array_equal(plain, 3)

  def test_dropout_of_everything_is_an_error(self):
    f = adapter.Factors(jnp.ones((2, 1)), jnp.ones((2, 1)))
    with self.assertRaisesRegex(ValueError, r"dropout=1.0 is not in \[0, 1\)"):
      adapter.project(jnp.ones(2), jnp.ones((2, 2)), f, dropout=1.0)

  def test_half_precision_stays(self):
    f = adapter.Factors(jnp.ones((2, 1)), jnp.ones((3, 1)), jnp.ones(3))
    kernel = jnp.ones((2, 3), jnp.bfloat16)
    y = adapter.project(jnp.ones(2, jnp.bfloat16), kernel, f)
    self.assertEqual(y.dtype, jnp.bfloat16)
    self.assertEqual(adapter.change(kernel, f).dtype, jnp.bfloat16)


class MergeTest(parameterized.TestCase):
  @parameterized.parameters(*EVERY)
  def test_a_merge_changes_the_targets_alone(self, name):
    base = toy.params()
    merged = toy.ADAPTERS[name].merge(base, toy.trained(name, base), STEP)
    chex.assert_trees_all_equal_shapes_and_dtypes(merged, base)
    changed = {
      path
      for path, x in paths.flatten(merged).items()
      if np.any(x != paths.flatten(base)[path])
    }
    self.assertEqual(changed, set(targets.select(toy.CONFIG, base)))

  @parameterized.parameters(*EVERY)
  def test_an_empty_adapter_is_disabled(self, name):
    base = toy.params()
    merged = toy.ADAPTERS[name].merge(base, {}, STEP)
    jax.tree.map(self.assertIs, merged, base)

  def test_what_was_there_undoes_a_merge_and_subtraction_does_not(self):
    one, base = toy.ADAPTERS["lora"], toy.params(dtype=jnp.bfloat16)
    tree = toy.trained("lora", base)
    kept = paths.pick(base, tree)
    merged = one.merge(base, tree, STEP)
    chex.assert_trees_all_equal(paths.place(merged, kept), base)
    away = jax.tree.map(lambda x: x._replace(b=-x.b), tree, is_leaf=is_pair)
    chex.assert_trees_all_close(one.merge(merged, away, STEP), base, atol=0.1)
    with self.assertRaises(AssertionError):
      chex.assert_trees_all_equal(one.merge(merged, away, STEP), base)

  @parameterized.parameters("lora", "singlora")
  def test_a_stack_is_the_stack_of_its_layers(self, name):
    base = toy.params()["params"]["layers"]
    one = {
      "lora": lora.lora(targets.Config()),
      "singlora": singlora.singlora(targets.Config(), toy.NUM_STEPS),
    }[name]
    tree = toy.noisy(one.init(jax.random.key(0), base), 1)
    layers = [
      one.merge(*jax.tree.map(lambda x, i=i: x[i], (base, tree)), STEP)
      for i in range(2)
    ]
    whole = one.merge(base, tree, STEP)
    chex.assert_trees_all_close(
      whole, jax.tree.map(lambda *xs: jnp.stack(xs), *layers), atol=1e-6
    )

  def test_a_traced_step_compiles_once(self):
    base = toy.params()
    tree = toy.trained("singlora", base)
    merge = jax.jit(chex.assert_max_traces(toy.ADAPTERS["singlora"].merge, n=1))
    kernels = [merge(base, tree, t)["params"]["up"]["kernel"] for t in (0, 20)]
    self.assertTrue(np.any(kernels[0] != kernels[1]))

  @parameterized.parameters("lora", "singlora")
  def test_an_adapter_of_another_model_is_refused(self, name):
    base = toy.params()
    one, tree = toy.ADAPTERS[name], toy.trained(name, base)
    with self.assertRaisesRegex(ValueError, "no parameter is at 'params/do"):
      one.merge({"params": {"up": base["params"]["up"]}}, tree, STEP)
    other = paths.place(base, {"params/up/kernel": jnp.ones((5, 9))})
    if name == "singlora":  # 5 x 9 fits an A of 9 rows
      other = paths.place(base, {"params/up/kernel": jnp.ones((6, 8))})
    with self.assertRaises(AssertionError):
      one.merge(other, tree, STEP)

  def test_an_adapter_of_another_rank_is_refused(self):
    base = toy.params()
    tree = lora.lora(targets.Config(rank=5)).init(jax.random.key(0), base)
    with self.assertRaisesRegex(AssertionError, "5"):
      toy.ADAPTERS["lora"].merge(base, tree, STEP)


class TrainingTest(parameterized.TestCase):
  @parameterized.parameters(*EVERY)
  def test_the_base_is_the_same_bit_for_bit_after_training(self, name):
    base = toy.params()
    before = jax.tree.map(np.array, base)
    one, tx = toy.ADAPTERS[name], optax.adam(3e-2)
    tree = one.init(jax.random.key(1), base)
    goal = toy.params(5)

    def distance(tree, base, step):
      far = jax.tree.map(
        lambda x, y: jnp.sum((x - y) ** 2), one.merge(base, tree, step), goal
      )
      return sum(jax.tree.leaves(far))

    def step(state, t):
      base, tree, opt_state = state
      value, grads = jax.value_and_grad(distance)(tree, base, t)
      updates, opt_state = tx.update(grads, opt_state)
      return (base, optax.apply_updates(tree, updates), opt_state), value

    run = jax.jit(lambda state: jax.lax.scan(step, state, jnp.arange(1, 81)))
    (base, tree, _), values = run((base, tree, tx.init(tree)))
    chex.assert_trees_all_equal(base, before)
    self.assertLess(values[-1], 0.9 * values[0])


class ChainTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    self.base = toy.params()
    self.both = toy.trained("chain", self.base)

  def merge(self, name, tree):
    return toy.ADAPTERS[name].merge(self.base, tree, STEP)

  def test_the_changes_of_several_adapters_add_up(self):
    one = self.merge("lora", self.both["lora"])
    two = self.merge("singlora", self.both["singlora"])
    added = jax.tree.map(lambda x, y, z: x + y - z, one, two, self.base)
    chex.assert_trees_all_close(
      self.merge("chain", self.both), added, atol=1e-5
    )

  def test_a_name_that_is_left_out_is_disabled(self):
    chex.assert_trees_all_equal(
      self.merge("chain", {"lora": self.both["lora"]}),
      self.merge("lora", self.both["lora"]),
    )

  def test_an_unknown_name_is_an_error(self):
    with self.assertRaisesRegex(
      ValueError, r"adapter='loro' is not one of \['lora', 'singlora'\]"
    ):
      self.merge("chain", {"loro": self.both["lora"]})

  def test_magnitudes_do_not_add_up(self):
    names = ("dora", "lora")
    chain = adapter.chain({name: toy.ADAPTERS[name] for name in names})
    tree = chain.init(jax.random.key(0), self.base)
    with self.assertRaisesRegex(ValueError, "put dora around the chain"):
      chain.merge(self.base, tree, STEP)


class CountTest(chex.TestCase):
  def test_llama_7b_has_the_counts_that_the_paper_rounds(self):
    """To 20M and 12M: seven linear maps in each of 32 layers, at rank 8."""
    E, F = 4096, 11008
    shapes = {"gate": (E, F), "up": (E, F), "down": (F, E)}
    shapes |= dict.fromkeys(("q", "k", "v", "o"), (E, E))
    base = {
      name: {"kernel": jax.ShapeDtypeStruct((32, *shape), jnp.bfloat16)}
      for name, shape in shapes.items()
    }
    counts = [
      adapter.count(jax.eval_shape(one.init, jax.random.key(0), base))
      for one in (
        lora.lora(targets.Config(rank=8)),
        singlora.singlora(targets.Config(rank=8), 12_271),
      )
    ]
    self.assertEqual(counts, [19_988_480, 12_648_448])


def is_pair(x):
  return isinstance(x, lora.LowRank)


if __name__ == "__main__":
  absltest.main()
