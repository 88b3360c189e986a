"""Tests for simplex/models/transformer.py."""

import dataclasses
import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.models import transformer

SMALL = transformer.Config(vocab_size=11, width=8, num_layers=3, num_heads=2)


def made(config=SMALL, **changes):
  """A model, its parameters and some tokens."""
  config = dataclasses.replace(config, **changes)
  model = transformer.Transformer(config)
  tokens_key, init_key = jax.random.split(jax.random.key(0))
  tokens_BT = jax.random.randint(tokens_key, (2, 7), 0, config.vocab_size)
  return model, jax.jit(model.init)(init_key, tokens_BT), tokens_BT


def open_gates(params):
  """The parameters with every gate at one half."""
  opened = lambda path, x: x + 0.5 if path[-1].key == "gate" else x
  return jax.tree_util.tree_map_with_path(opened, params)


class TransformerTest(chex.TestCase):
  @parameterized.parameters(*transformer.mixers.MIXERS)
  def test_no_logit_depends_on_a_later_token(self, mixer):
    model, params, tokens_BT = made(mixer=mixer, implementation="reference")
    other_BT = tokens_BT.at[:, 4].add(1) % 11
    fn = jax.jit(model.apply)
    logits, other = (fn(params, x) for x in (tokens_BT, other_BT))
    chex.assert_trees_all_close(logits[:, :4], other[:, :4], atol=1e-6)
    self.assertGreater(jnp.abs(logits - other)[:, 4:].min(axis=-1).max(), 1e-4)

  @parameterized.parameters(
    dict(),
    dict(gated_from=0),
    dict(gated_from=1),
    dict(gated_from=3),
    dict(num_layers=4, gated_from=2, mixer="simplicial", mixer_every=2),
    dict(num_layers=1, mixer="forgetting", implementation="reference"),
    dict(num_positions=9, norm="layer", biases=("query", "out", "down")),
  )
  def test_scanned_layers_are_the_same_function(self, **changes):
    config = dataclasses.replace(SMALL, **changes)
    model, params, tokens_BT = made(config)
    scanned, _, _ = made(config, scan_layers=True)
    params = open_gates(params)
    stacked = transformer.stack_layers(params, config)
    shapes = jax.eval_shape(scanned.init, jax.random.key(0), tokens_BT)
    chex.assert_trees_all_equal_shapes_and_dtypes(stacked, shapes)
    for active in (None, 2):
      chex.assert_trees_all_close(
        model.apply(params, tokens_BT, active_layers=active),
        scanned.apply(stacked, tokens_BT, active_layers=active),
        atol=1e-5,
      )

  @parameterized.parameters(
    *(dict(mixer=mixer, num_layers=1) for mixer in transformer.mixers.MIXERS),
    dict(gated_from=1, tie_embeddings=True, mup_base_width=4),
    dict(scan_layers=True, gated_from=1, windows=(3,)),
    dict(num_layers=1, mixer="nope", num_positions=7, norm="layer"),
    dict(
      num_layers=1,
      head_width=6,
      num_key_heads=1,
      scan_layers=True,
      num_positions=8,
      rotary_stretch=(4.0, 1.0, 4.0, 32.0),
      biases=("query", "key", "value", "out"),
    ),
    dict(
      num_layers=4,
      num_key_heads=1,
      mixer="simplicial",
      mixer_every=2,
      windows=(2, 3),
      scan_layers=True,
      gated_from=2,
    ),
  )
  def test_texts_in_chunks_have_the_logits_of_the_whole(self, **changes):
    model, params, tokens_BT = made(**changes)
    params = open_gates(params)
    # Texts of 7 and 4 tokens; the second has 3 of padding before or after.
    padded_BT = tokens_BT.at[1].set(jnp.roll(tokens_BT[1], 3))
    whole = jax.jit(model.apply)(params, tokens_BT)
    extend = jax.jit(functools.partial(model.apply, method="extend"))
    caches = model.init_cache(2, 7, jnp.array([0, 3]))
    logits = []
    for start, end in ((0, 5), (5, 6), (6, 7)):
      chunk_BTV, caches = extend(params, padded_BT[:, start:end], caches)
      logits.append(chunk_BTV)
    logits = jnp.hstack(logits)
    chex.assert_trees_all_close(logits[0], whole[0], atol=1e-5)
    chex.assert_trees_all_close(logits[1, 3:], whole[1, :4], atol=1e-5)

  def test_every_nth_layer_has_the_mixer(self):
    _, params, _ = made(num_layers=4, mixer="simplicial", mixer_every=2)
    names = {i: params["params"][f"layer_{i}"]["mixer"] for i in range(4)}
    simplicial = [i for i, mixer in names.items() if "key_2" in mixer]
    self.assertEqual(simplicial, [1, 3])

  def test_windows_are_those_of_the_mixer(self):
    model, params, tokens_BT = made(
      num_layers=1, mixer="simplicial", windows=(1, 2)
    )
    other_BT = tokens_BT.at[:, 2].add(1) % 11
    logits, other = (model.apply(params, x) for x in (tokens_BT, other_BT))
    changed_T = jnp.abs(logits - other).max((0, 2)) > 1e-6
    self.assertEqual(changed_T.tolist(), [t in (2, 3) for t in range(7)])

  def test_an_output_of_zero_leaves_the_residual_stream(self):
    _, params, _ = made(
      mixer="simplicial", num_layers=1, mixer_switches=("zero_output",)
    )
    mixer = params["params"]["layer_0"]["mixer"]
    self.assertEqual(jnp.abs(mixer["out"]["kernel"]).max(), 0)
    self.assertGreater(jnp.abs(mixer["value_1"]["kernel"]).max(), 0)

  def test_all_kernels_and_embeddings_can_start_at_one_size(self):
    _, params, _ = made(
      width=128, mixer="forgetting_pro", init_std=0.02, feed_forward="swiglu"
    )
    for path, x in jax.tree_util.tree_leaves_with_path(params):
      if path[-1].key in ("kernel", "embedding") and x.size > 2000:
        self.assertBetween(x.std(), 0.0185, 0.0215)
      elif path[-1].key == "bias":
        self.assertEqual(jnp.abs(x).max(), 0)
      elif path[-1].key == "scale":
        self.assertEqual(jnp.abs(x - 1).max(), 0)

  def test_the_feed_forward_width_is_free(self):
    for changes, features in ((dict(), 32), (dict(feed_forward_width=9), 9)):
      _, params, _ = made(num_layers=1, **changes)
      up = params["params"]["layer_0"]["feed_forward"]["up"]
      self.assertEqual(up["kernel"].shape, (8, features))

  def test_the_head_width_is_free(self):
    _, params, _ = made(num_layers=1, head_width=3)
    mixer = params["params"]["layer_0"]["mixer"]
    self.assertEqual(mixer["query"]["kernel"].shape, (8, 6))
    self.assertEqual(mixer["out"]["kernel"].shape, (6, 8))

  def test_the_named_projections_have_biases(self):
    _, params, _ = made(num_layers=1, biases=("key", "up"))
    layer = params["params"]["layer_0"]
    biased = [
      name
      for part in ("mixer", "feed_forward")
      for name, x in layer[part].items()
      if "bias" in x
    ]
    self.assertCountEqual(biased, ["key", "up"])

  def test_layer_norms_do_not_see_the_mean(self):
    model, params, tokens_BT = made(norm="layer", norm_epsilon=1e-3)
    scale = lambda x: {"scale": x["scale"], "bias": x["bias"] + 1.0}
    params["params"]["norm"] = scale(params["params"]["norm"])
    _, taps = model.apply(params, tokens_BT, mutable="intermediates")
    (hidden_BTE,) = taps["intermediates"]["hidden"]
    chex.assert_trees_all_close(
      hidden_BTE.mean(-1), jnp.ones((2, 7)), atol=1e-5
    )
    self.assertTrue(jnp.all(hidden_BTE.var(-1) < 1))

  def test_learned_positions_tell_equal_tokens_apart(self):
    model, params, _ = made(num_layers=1, mixer="nope", num_positions=7)
    same_BT = jnp.zeros((1, 7), jnp.int32)
    logits_BTV = model.apply(params, same_BT)
    self.assertGreater(jnp.abs(jnp.diff(logits_BTV, axis=1)).min(), 0)

  def test_texts_do_not_outgrow_learned_positions(self):
    model, params, tokens_BT = made(num_layers=1, num_positions=7)
    message = "8 tokens are more than num_positions=7"
    with self.assertRaisesRegex(ValueError, message):
      model.apply(params, jnp.zeros((1, 8), jnp.int32))
    with self.assertRaisesRegex(ValueError, message):
      model.init_cache(2, 8)
    caches = model.init_cache(2, 7)
    extend = jax.jit(functools.partial(model.apply, method="extend"))
    for is_finite in (True, False):
      logits_BTV, caches = extend(params, tokens_BT, caches)
      self.assertEqual(bool(jnp.isfinite(logits_BTV).all()), is_finite)

  def test_switches_and_a_base_reach_the_mixer(self):
    config = dataclasses.replace(
      SMALL,
      mixer="forgetting",
      mixer_switches=("rotary", "normalize"),
      rotary_base=500.0,
      prune="online",
      windows=(3,),
    )
    mixer = transformer._mixer(config, 0)
    self.assertTrue(mixer.rotary and mixer.normalize and not mixer.shift_keys)
    self.assertEqual(
      (mixer.rotary_base, mixer.prune, mixer.windows), (500.0, "online", (3,))
    )

  def test_depth_does_not_lengthen_a_scanned_program(self):
    def lines(num_layers):
      model, params, tokens = made(num_layers=num_layers, scan_layers=True)
      return jax.jit(model.apply).lower(params, tokens).as_text().count("\n")

    self.assertEqual(lines(2), lines(20))

  def test_gated_layers_start_as_the_identity(self):
    model, params, tokens_BT = made(gated_from=1)
    shallow, _, _ = made(num_layers=1)
    first = dict(params["params"])
    del first["layer_1"], first["layer_2"]
    chex.assert_trees_all_close(
      model.apply(params, tokens_BT),
      shallow.apply({"params": first}, tokens_BT),
      atol=1e-6,
    )

  def test_active_layers_enables_gated_layers(self):
    model, params, tokens_BT = made(gated_from=1)
    params = open_gates(params)

    @jax.jit
    def gates_that_learn(active_layers):
      fn = lambda p: (
        model.apply(p, tokens_BT, active_layers=active_layers) ** 2
      ).sum()
      grads = jax.grad(fn)(params)["params"]
      return [grads[f"layer_{i}"]["gate"] != 0 for i in (1, 2)]

    self.assertEqual(gates_that_learn(1), [False, False])
    self.assertEqual(gates_that_learn(2), [True, False])
    self.assertEqual(gates_that_learn(3), [True, True])

  @parameterized.parameters(False, True)
  def test_mup_keeps_scales_as_the_width_grows(self, tie_embeddings):
    def scales(width):
      model, params, tokens_BT = made(
        width=width, mup_base_width=16, tie_embeddings=tie_embeddings
      )
      rms = lambda x: float(jnp.sqrt(jnp.mean(x**2)))
      logits, taps = model.apply(
        params, tokens_BT, capture_intermediates=True, mutable="intermediates"
      )
      residual, _ = taps["intermediates"]["layer_2"]["__call__"][0]
      return rms(residual), rms(logits)

    narrow, wide = scales(16), scales(256)
    self.assertBetween(wide[0] / narrow[0], 0.7, 1.4)
    self.assertLess(wide[1], 1.0)
    self.assertLess(wide[1], narrow[1])

  def test_mup_scales_logits_of_attention_by_the_head_width(self):
    config = dataclasses.replace(SMALL, width=32, mup_base_width=8)
    self.assertEqual(transformer._logit_scale(config), 1 / 16)

  def test_bfloat16_activations_keep_float32_parameters(self):
    model, params, tokens_BT = made(dtype="bfloat16", feed_forward="swiglu")
    chex.assert_type(jax.tree.leaves(params), jnp.float32)
    logits, taps = model.apply(params, tokens_BT, mutable="intermediates")
    (hidden_BTE,) = taps["intermediates"]["hidden"]
    chex.assert_type([logits, hidden_BTE], [jnp.float32, jnp.bfloat16])
    exact = made(feed_forward="swiglu")[0].apply(params, tokens_BT)
    self.assertLess(jnp.abs(logits - exact).mean(), 0.05)

  def test_hidden_states_give_the_logits(self):
    model, params, tokens_BT = made(tie_embeddings=True)
    logits, taps = model.apply(params, tokens_BT, mutable="intermediates")
    (hidden_BTE,) = taps["intermediates"]["hidden"]
    table_VE = params["params"]["embed"]["embedding"]
    chex.assert_trees_all_close(logits, hidden_BTE @ table_VE.T, atol=1e-5)
    self.assertNotIn("head", params["params"])

  def test_kernels_are_matrices(self):
    _, params, _ = made(num_key_heads=1, feed_forward="swiglu")
    self.assertEqual(
      {
        x.ndim
        for p, x in jax.tree.leaves_with_path(params)
        if "kernel" in str(p)
      },
      {2},
    )

  @parameterized.parameters(
    (
      dict(mixer="linear"),
      r"mixer='linear' is not one of \['forgetting', .*'nope', 'no",
    ),
    (dict(feed_forward="tanh"), r"feed_forward='tanh' is not one of \['gelu'"),
    (dict(dtype="int8"), r"dtype='int8' is not one of \['bfloat16'"),
    (dict(width=30), "width=30 is not a multiple of num_heads=4"),
    (dict(num_key_heads=3), "num_heads=4 is not a multiple of num_key_heads=3"),
    (dict(num_heads=0), "num_heads=0 is not at least 1"),
    (dict(num_layers=-1), "num_layers=-1 is not at least 0"),
    (dict(gated_from=-1), "gated_from=-1 is not at least 0"),
    (dict(vocab_size=0), "vocab_size=0 is not at least 1"),
    (dict(mixer_every=0), "mixer_every=0 is not at least 1"),
    (
      dict(scan_layers=True, mixer_every=3),
      "num_layers=4 is not a multiple of mixer_every=3",
    ),
    (
      dict(windows=(4, 4)),
      r"windows=\(4, 4\) is neither empty nor 1 of .* mixer='softmax' takes",
    ),
    (
      dict(mixer="simplicial", windows=(0, 4)),
      r"windows=\(0, 4\) is neither empty nor 2 of at least 1, which",
    ),
    (
      dict(mixer_switches=("zero_output",)),
      "mixer='softmax' has no switch 'zero_output', it has .*'rotary'",
    ),
    (
      dict(prune="online"),
      "mixer='softmax' has no field prune, which is 'online'",
    ),
    (
      dict(mixer="simplicial", rotary_base=10.0),
      "mixer='simplicial' has no field rotary_base, which is 10.0",
    ),
    (dict(head_width=0), "head_width=0 is not at least 1"),
    (dict(num_positions=0), "num_positions=0 is not at least 1"),
    (dict(norm="batch"), r"norm='batch' is not one of \['layer', 'rms'\]"),
    (
      dict(biases=("query", "gate")),
      r"biases=\('query', 'gate'\): 'gate' is not one of \('query', .*'down'",
    ),
    (
      dict(mixer="simplicial", biases=("query",)),
      r"mixer='simplicial' has no field biases, which is \('query',\)",
    ),
    (
      dict(rotary_stretch=(2.0,)),
      r"rotary_stretch=\(2.0,\) is neither empty nor \(factor, low, high, ",
    ),
    (
      dict(rotary_stretch=(2.0, 4.0, 1.0, 8.0)),
      r"rotary_stretch=\(2.0, 4.0, 1.0, 8.0\) is neither empty nor .*low < hi",
    ),
    (dict(mup_base_width=0), "mup_base_width=0 is not at least 1"),
    (dict(init_std=0.0), "init_std=0.0 is not above 0"),
    (
      dict(init_std=0.02, mup_base_width=8),
      "init_std=0.02 and mup_base_width=8 both say .*: one must be None",
    ),
  )
  def test_wrong_configs_are_named(self, changes, message):
    with self.assertRaisesRegex(ValueError, message):
      transformer.Config(**changes)


if __name__ == "__main__":
  absltest.main()
