"""Tests for launch/studies/tuned_models.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import tuned_models
from simplex.data import text
from simplex.models import transformer

MODEL = transformer.Config(vocab_size=5, width=8, num_layers=2, num_heads=2)
CONFIG = tuned_models.Config(rank=2, num_steps=2, num_seeds=2, rates=(0.0, 0.1))
BYTES_N = np.random.default_rng(0).integers(0, 5, 200).astype(np.uint8)
BATCH = {"tokens": jnp.array([[0, 1, 2]]), "targets": jnp.array([[1, 2, 3]])}


def model(**changes):
  net = transformer.Transformer(dataclasses.replace(MODEL, **changes))
  base = jax.jit(net.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
  return net, base


def data():
  windows_NS = text.windows(BYTES_N, 4, 5)
  source = text.source(BYTES_N, 2, 4)
  return tuned_models.Data(source, windows_NS, windows_NS[::-1])


def problem(cfg, arm, net, base):
  one = tuned_models.make(cfg, arm, base)
  tree = one.init(jax.random.key(1), base)
  return tuned_models.problem(cfg, net, base, one, None), tree


class ArmsTest(parameterized.TestCase):
  def test_equal_parameters_are_equal(self):
    """At 4 E F, SingLoRA has two thirds of LoRA's at equal rank."""
    cfg = tuned_models.Config()
    net = transformer.Transformer(transformer.Config(width=64, num_layers=1))
    base = jax.eval_shape(
      net.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32)
    )
    found = {}
    for arm in tuned_models.ARMS:
      one = tuned_models.make(cfg, arm, base)
      tree = jax.eval_shape(one.init, jax.random.key(0), base)
      size = sum(x.size for x in jax.tree.leaves(tree))
      found[arm] = tuned_models.rank(cfg, arm, base), size
    for arm in ("singlora", "singlora_row_adam", "singlora_trap"):
      self.assertEqual(found[arm], (6, 4608))
    self.assertEqual(found["singlora_rank"], (4, 3072))
    for arm in ("lora", "lora_plus"):
      self.assertEqual(found[arm], (4, 4608))
    magnitudes = 4 * 64 + 256 + 64
    self.assertEqual(found["dora"], (4, 4608 + magnitudes))

  def test_the_trap_starts_as_if_the_rank_were_the_fan_in(self):
    _, base = model()
    plain, trapped = (
      tuned_models.make(CONFIG, arm, base).init(jax.random.key(0), base)
      for arm in ("singlora", "singlora_trap")
    )
    for path, a in plain.items():
      n, r = a.shape
      np.testing.assert_allclose(trapped[path], (n / r) ** 0.5 * a, rtol=1e-6)

  def test_the_best_rate_is_that_of_validation(self):
    nan = np.array([[np.nan] * 2, [3.0, 3.2], [2.9, 3.1], [9.0, 9.0]])
    test = np.array([[1.0] * 2] * 4)
    runs = tuned_models.Runs(1, 1, validation=nan, test=test)
    self.assertEqual(tuned_models.best(runs), 2)


class TrainingTest(parameterized.TestCase):
  def test_the_first_update_of_singlora_has_a_gradient(self):
    net, base = model()
    fitted, tree = problem(CONFIG, "singlora", net, base)
    loss = lambda tree: fitted.loss(tree, BATCH, key=None, step=0)[0]
    grads = jax.jit(jax.grad(loss))(tree)
    self.assertGreater(max(jnp.abs(g).max() for g in grads.values()), 1e-4)

  def test_dropout_differs_by_the_key_in_stacked_layers_too(self):
    net, base = model(scan_layers=True)
    cfg = dataclasses.replace(CONFIG, dropout=0.5)
    fitted, tree = problem(cfg, "singlora", net, base)
    loss = jax.jit(
      lambda seed: fitted.loss(tree, BATCH, key=jax.random.key(seed), step=9)[0]
    )
    self.assertEqual(loss(0), loss(0))
    self.assertNotEqual(loss(0), loss(1))

  @parameterized.parameters("lora_plus", "full")
  def test_a_rate_of_0_leaves_the_model_as_it_was(self, arm):
    net, base = model()
    runs = tuned_models.sweep(CONFIG, arm, net, base, data(), 0)
    chex.assert_shape([runs.validation, runs.test], (2, 2))
    untuned = tuned_models.bits(net, base, data().test)
    np.testing.assert_allclose(runs.test[0], untuned, rtol=1e-5)
    self.assertGreater(np.abs(runs.test[1] - untuned).min(), 1e-3)

  def test_changes_are_those_of_full_fine_tuning(self):
    net, base = model()
    sizes = tuned_models.changes(
      CONFIG,
      net,
      base,
      data(),
      0.1,
      0,
      lambda change: {
        "head": jnp.abs(change["params"]["head"]["kernel"]).max()
      },
    )
    # Two steps of Adam, the second at half the rate.
    self.assertEqual(sizes["head"].shape, (2,))
    self.assertBetween(sizes["head"].max(), 0.1, 0.16)


if __name__ == "__main__":
  absltest.main()
