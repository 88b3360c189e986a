"""Tests for simplex/models/gpt.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import gpt

CONFIG = gpt.Config(vocab_size=7, length=6, width=8, num_heads=2, num_layers=2)
TOKENS = jnp.array([[1, 2, 3, 4, 5, 6]])


def build(config=CONFIG, **changes):
  net = gpt.GPT(dataclasses.replace(config, **changes))
  # Large enough weights for attention to matter.
  return net, net.init(jax.random.key(0), TOKENS)


class GPTTest(chex.TestCase):
  @parameterized.parameters("linear", "softmax")
  def test_no_position_sees_its_future(self, attention):
    net, params = build(attention=attention, init_std=0.3)
    apply = jax.jit(net.apply)
    logits = apply(params, TOKENS)
    other = apply(params, TOKENS.at[0, 4].set(0))
    np.testing.assert_allclose(logits[:, :4], other[:, :4], atol=1e-6)
    self.assertGreater(np.abs(logits - other)[:, 4:].max(), 1e-3)

  def test_linear_attention_is_the_masked_product(self):
    net, params = build(num_layers=1, num_heads=1, init_std=0.3)
    _, state = net.apply(
      params,
      TOKENS,
      mutable=["intermediates"],
      capture_intermediates=lambda module, _: module.name in ("query", "key"),
    )
    layer = state["intermediates"]["layer_0"]
    (q_BTE,), (k_BTE,) = (layer[n]["__call__"] for n in ("query", "key"))
    expected = np.tril(q_BTE[0] @ k_BTE[0].T / np.sqrt(8))
    (weights_BHTS,) = layer["attention"]
    np.testing.assert_allclose(weights_BHTS[0, 0], expected, atol=1e-6)

  def test_softmax_rows_sum_to_1_and_gain_multiplies_them(self):
    net, params = build(attention="softmax", num_layers=1)
    apply = lambda gain: net.apply(
      params, TOKENS, gain, mutable=["intermediates"]
    )[1]["intermediates"]["layer_0"]["attention"][0]
    plain = apply(None)
    np.testing.assert_allclose(plain.sum(-1), 1, atol=1e-6)
    gain_TS = jnp.ones((6, 6)).at[3, 1].set(10.0)
    np.testing.assert_allclose(apply(gain_TS), plain * gain_TS, atol=1e-6)

  def test_parameters_are_those_of_the_paper(self):
    net = gpt.GPT(gpt.Config())
    tokens = jnp.zeros((1, 32), jnp.int32)
    params = jax.eval_shape(net.init, jax.random.key(0), tokens)
    count = sum(x.size for x in jax.tree.leaves(params))
    E, V, T = 256, 18, 32
    block = 12 * E * E + (4 + 5) * E + 4 * E  # kernels, biases, norms
    self.assertEqual(count, block + 2 * V * E + T * E + 2 * E)

  def test_what_writes_to_the_stream_starts_smaller(self):
    _, params = build(width=64)
    layer = params["params"]["layer_0"]
    for name, std in (("query", 0.02), ("out", 0.01), ("down", 0.01)):
      found = float(layer[name]["kernel"].std())
      self.assertAlmostEqual(found / std, 1, delta=0.1)
      np.testing.assert_array_equal(layer[name]["bias"], 0)

  @parameterized.parameters(
    (dict(width=0), "width=0 must be at least 1"),
    (dict(num_heads=3), "num_heads=3 must divide width=8"),
    (dict(attention="hard"), "attention='hard' is not one of .*linear"),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(CONFIG, **fields)


if __name__ == "__main__":
  absltest.main()
