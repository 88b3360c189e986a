"""Tests for simplex/models/projected.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.adapters import adapter, dora, singlora, targets
from simplex.models import gpt, projected, transformer

MODELS = {
  "biases": lambda: gpt.GPT(
    gpt.Config(vocab_size=5, length=4, width=8, num_heads=2, init_std=0.3)
  ),
  "scanned": lambda: transformer.Transformer(
    transformer.Config(
      vocab_size=5, width=8, num_heads=2, num_layers=3, scan_layers=True
    )
  ),
}
TOKENS_BT = jnp.array([[0, 1, 2, 3], [4, 4, 0, 1]])
CONFIG = targets.Config(patterns=(r".*layer_0/.*kernel", r".*head.*"), rank=2)
TUNED = dora.dora(singlora.singlora(CONFIG, 10, ramp=0.5))


def merged(model, tree, base):
  return model.apply(TUNED.merge(base, tree, 3), TOKENS_BT)


def thin(model, tree, base):
  return projected.apply(
    model,
    base,
    TOKENS_BT,
    project=adapter.project,
    changes=TUNED.factors(base, tree, 3),
  )


class ProjectedTest(parameterized.TestCase):
  @parameterized.parameters(*MODELS)
  def test_thin_products_give_the_logits_and_gradients_of_a_merge(self, name):
    model = MODELS[name]()
    base = jax.jit(model.init)(jax.random.key(0), TOKENS_BT)
    base = jax.tree.map(lambda x: x + 0.1, base)  # biases count
    tree = TUNED.init(jax.random.key(1), base)

    def loss(form, tree):
      logits_BTV = form(model, tree, base)
      return jnp.mean(logits_BTV**2), logits_BTV

    one, two = (
      jax.jit(jax.value_and_grad(functools.partial(loss, form), has_aux=True))
      for form in (merged, thin)
    )
    chex.assert_trees_all_close(one(tree), two(tree), rtol=1e-4, atol=1e-5)
    plain = model.apply(base, TOKENS_BT)
    (_, logits_BTV), _ = two(tree)
    self.assertGreater(jnp.abs(logits_BTV - plain).max(), 0.01)

  def test_a_change_can_bring_a_key_for_dropout_to_every_layer(self):
    model = MODELS["scanned"]()
    base = jax.jit(model.init)(jax.random.key(0), TOKENS_BT)
    tree = TUNED.init(jax.random.key(1), base)
    path = "params/layers/layer_0/feed_forward/up/kernel"
    factors = TUNED.factors(base, tree, 10)[path]

    def project(x, kernel, change):
      f, key = change
      return adapter.project(x, kernel, f, dropout=0.5, key=key)

    @jax.jit
    def logits(key):
      return projected.apply(
        model,
        base,
        TOKENS_BT,
        project=project,
        changes={path: (factors, jax.random.split(key, 3))},
      )

    one, again, other = map(logits, map(jax.random.key, (0, 0, 1)))
    chex.assert_trees_all_equal(one, again)
    self.assertGreater(jnp.abs(one - other).max(), 1e-3)

  def test_a_path_of_no_dense_layer_is_an_error(self):
    model = MODELS["biases"]()
    base = jax.jit(model.init)(jax.random.key(0), TOKENS_BT)
    with self.assertRaisesRegex(
      ValueError, r"\['params/heat/kernel'\] are not among .*'params/head/ker"
    ):
      projected.apply(
        model,
        base,
        TOKENS_BT,
        project=adapter.project,
        changes={"params/heat/kernel": jnp.ones(())},
      )


if __name__ == "__main__":
  absltest.main()
