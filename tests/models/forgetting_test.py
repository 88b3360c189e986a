"""Tests for simplex/models/forgetting.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.kernels.forgetting_attention import decode
from simplex.models import forgetting, layers, mixers, transformer

POSITIONS = jnp.arange(7)[None]
PRO = dict.fromkeys(forgetting.PRO, True)


def made(**fields):
  """A mixer, parameters without zeros and ones, and an input."""
  fields = (
    dict(num_heads=4, num_key_heads=2, implementation="reference") | fields
  )
  mixer = forgetting.ForgettingMixer(**fields)
  x_BTE = jax.random.normal(jax.random.key(0), (2, 7, 16))
  params = jax.jit(mixer.init)(jax.random.key(1), x_BTE, POSITIONS)
  leaves, tree = jax.tree.flatten(params["params"])
  keys = jax.random.split(jax.random.key(2), len(leaves))
  more = [
    0.3 * jax.random.normal(k, x.shape)
    for k, x in zip(keys, leaves, strict=True)
  ]
  leaves = [x + y for x, y in zip(leaves, more, strict=True)]
  return mixer, {"params": jax.tree.unflatten(tree, leaves)}, x_BTE


def by_hand(mixer, params, x_BTE):
  """The equations of the paper, one position and one head at a time."""
  params = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"])
  return np.stack([_one_text(mixer, params, np.asarray(x)) for x in x_BTE])


def _one_text(mixer, params, x_TE):
  H, G, D = (
    mixer.num_heads,
    mixer.num_key_heads,
    x_TE.shape[1] // mixer.num_heads,
  )
  kernel = lambda name: params[name]["kernel"]
  project = lambda name: (x_TE @ kernel(name)).reshape(len(x_TE), -1, D)
  q_THD, k_TGD, v_TGD = (project(name) for name in ("query", "key", "value"))
  if mixer.shift_keys:
    k_TGD = _shifted(k_TGD, _sigmoid(x_TE @ kernel("key_shift")))
  if mixer.shift_values:
    v_TGD = _shifted(v_TGD, _sigmoid(x_TE @ kernel("value_shift")))
  if mixer.normalize:
    q_THD = _rms(q_THD, 1e-5) * params["query_norm"]["scale"]
    k_TGD = _rms(k_TGD, 1e-5) * params["key_norm"]["scale"]
  if mixer.rotary:
    turn = lambda x: np.asarray(
      layers.rotary(np.float32(x)[None], POSITIONS, mixer.rotary_base)
    )[0]
    q_THD, k_TGD = turn(q_THD), turn(k_TGD)
  f_TH = _gates(mixer, params, x_TE)
  out_THD = np.zeros_like(q_THD)
  window = mixer.windows[0] if mixer.windows else len(x_TE)
  for h in range(H):
    g = h // (H // G)
    for t in range(len(x_TE)):
      seen = range(max(0, t - window + 1), t + 1)
      weights = [
        np.exp(q_THD[t, h] @ k_TGD[s, g] / np.sqrt(D))
        * np.prod(f_TH[s + 1 : t + 1, h])
        for s in seen
      ]
      mixed = sum(w * v_TGD[s, g] for w, s in zip(weights, seen, strict=True))
      out_THD[t, h] = mixed / sum(weights)
  if mixer.normalize_output:
    out_THD = _rms(out_THD, 1e-6) * params["out_norm"]["scale"]
  if mixer.gate_output:
    out_THD = out_THD * _sigmoid(project("out_gate"))
  return out_THD.reshape(len(x_TE), -1) @ kernel("out")


def _gates(mixer, params, x_TE):
  ones_TH = np.ones((len(x_TE), mixer.num_heads))
  if mixer.gate == "full":
    forget = params["forget"]
    return _sigmoid(x_TE @ forget["kernel"] + forget["bias"])
  if mixer.gate == "bias":
    return ones_TH * _sigmoid(params["forget_bias"])
  if mixer.gate == "fixed":
    return ones_TH * np.exp(-1 / np.geomspace(*mixer.reach, mixer.num_heads))
  return ones_TH


def _shifted(k_TGD, a_TG):
  before_TGD = np.concatenate([np.zeros_like(k_TGD[:1]), k_TGD[:-1]])
  return a_TG[..., None] * before_TGD + (1 - a_TG[..., None]) * k_TGD


def _rms(x, epsilon):
  return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon)


def _sigmoid(x):
  return 1 / (1 + np.exp(-x))


CASES = (
  dict(),
  *({name: True} for name in (*forgetting.PRO, "rotary")),
  dict(gate="bias"),
  dict(gate="fixed", reach=(1.0, 8.0)),
  dict(gate="none", rotary=True, rotary_base=500.0, **PRO),
  dict(windows=(3,), **PRO),
)


class ForgettingMixerTest(chex.TestCase):
  @parameterized.parameters(*CASES)
  def test_a_mixer_is_its_equations(self, **fields):
    mixer, params, x_BTE = made(**fields)
    y_BTE = jax.jit(mixer.apply)(params, x_BTE, POSITIONS)
    expected = by_hand(mixer, params, x_BTE)
    np.testing.assert_allclose(y_BTE, expected, atol=3e-5)

  @parameterized.parameters(CASES[0], *CASES[-3:])
  def test_chunks_equal_the_whole(self, **fields):
    mixer, params, x_BTE = made(**fields)
    padding_B = jnp.array([0, 2])
    segments_BT = jnp.where(POSITIONS < padding_B[:, None], -1, 0)
    whole = jax.jit(mixer.apply)(params, x_BTE, POSITIONS, segments_BT)
    cache = mixer.init_cache(2, 7, 16, padding_B)
    extend = jax.jit(functools.partial(mixer.apply, method="extend"))
    outs = []
    for start, end in ((0, 1), (1, 5), (5, 6), (6, 7)):
      y_BTE, cache = extend(params, x_BTE[:, start:end], cache)
      outs.append(y_BTE)
    chex.assert_trees_all_close(jnp.hstack(outs), whole, atol=1e-5)

  def test_what_all_heads_have_forgotten_can_be_evicted(self):
    mixer, params, x_BTE = made(**PRO)
    params["params"]["forget"]["bias"] -= 20
    whole = jax.jit(mixer.apply)(params, x_BTE, POSITIONS)
    extend = jax.jit(functools.partial(mixer.apply, method="extend"))
    _, cache = extend(params, x_BTE[:, :5], mixer.init_cache(2, 7, 16))
    bound_H = forgetting.logit_bound(params["params"])
    needed = int(decode.live(cache.attention, bound_H, max_length=7).max())
    self.assertLess(needed, 5)
    small = decode.resize(cache.attention, needed)
    y_BTE, _ = extend(params, x_BTE[:, 5:], cache._replace(attention=small))
    chex.assert_trees_all_close(y_BTE, whole[:, 5:], atol=4.5e-5)

  def test_padding_is_as_if_it_were_not_there(self):
    mixer, params, x_BTE = made(**PRO)
    segments_BT = jnp.tile(jnp.where(POSITIONS < 3, -1, 5), (2, 1))
    fn = jax.jit(mixer.apply)
    padded = fn(params, x_BTE.at[:, :3].multiply(9), POSITIONS, segments_BT)
    alone = fn(params, x_BTE[:, 3:], POSITIONS[:, :4])
    chex.assert_trees_all_close(padded[:, 3:], alone, atol=1e-5)

  @parameterized.parameters((False, "nope"), (True, "softmax"))
  def test_without_a_gate_it_is_softmax_attention(self, rotary, name):
    mixer, params, x_BTE = made(gate="none", rotary=rotary)
    softmax = mixers.make(name, num_heads=4, num_key_heads=2)
    chex.assert_trees_all_close(
      mixer.apply(params, x_BTE, POSITIONS),
      softmax.apply(params, x_BTE, POSITIONS),
      atol=1e-5,
    )

  def test_open_gates_forget_nothing_and_closed_gates_all_before(self):
    mixer, params, x_BTE = made()
    rest = dict(params["params"])
    del rest["forget"]

    @jax.jit
    def with_bias(bias):
      forget = {"kernel": jnp.zeros((16, 4)), "bias": jnp.full(4, bias)}
      return mixer.apply(
        {"params": rest | {"forget": forget}}, x_BTE, POSITIONS
      )

    softmax = mixers.make("nope", num_heads=4, num_key_heads=2)
    expected = softmax.apply({"params": rest}, x_BTE, POSITIONS)
    chex.assert_trees_all_close(with_bias(100.0), expected, atol=1e-5)
    v_BTGD = (x_BTE @ rest["value"]["kernel"]).reshape(2, 7, 2, 4)
    newest = jnp.repeat(v_BTGD, 2, axis=2).reshape(2, 7, 16)
    newest @= rest["out"]["kernel"]
    chex.assert_trees_all_close(with_bias(-100.0), newest, atol=1e-5)

  def test_a_learned_constant_gate_starts_as_the_fixed_one(self):
    fields = dict(num_heads=4, implementation="reference")
    x_BTE = jnp.zeros((1, 7, 16))
    logs = []
    for gate in ("bias", "fixed"):
      mixer = forgetting.ForgettingMixer(gate=gate, **fields)
      _, state = jax.jit(
        functools.partial(mixer.init_with_output, mutable=True)
      )(jax.random.key(0), x_BTE, POSITIONS)
      logs.append(state["intermediates"]["log_gates"][0])
    chex.assert_trees_all_close(*logs, rtol=1e-4)
    reach_H = -1 / logs[0][0, 0]
    np.testing.assert_allclose(reach_H, np.geomspace(2, 256, 4), rtol=1e-4)

  def test_what_the_op_gets_is_sown(self):
    mixer, params, x_BTE = made(dtype="bfloat16", **PRO)
    y_BTE, state = jax.jit(
      functools.partial(mixer.apply, mutable="intermediates")
    )(params, x_BTE.astype("bfloat16"), POSITIONS)
    (log_f_BTH,) = state["intermediates"]["log_gates"]
    ((q_BTHD, k_BTGD),) = state["intermediates"]["query_and_keys"]
    chex.assert_shape(
      [q_BTHD, k_BTGD, log_f_BTH], [(2, 7, 4, 4), (2, 7, 2, 4), (2, 7, 4)]
    )
    chex.assert_type(
      [y_BTE, q_BTHD, k_BTGD, log_f_BTH], [*["bfloat16"] * 3, "float32"]
    )
    logits_BHTS = (
      jnp.einsum(
        "BTHD,BSHD->BHTS",
        q_BTHD.astype("float32"),
        jnp.repeat(k_BTGD, 2, axis=2).astype("float32"),
      )
      / 2
    )
    bound_H = forgetting.logit_bound(params["params"])
    largest_H = jnp.abs(logits_BHTS).max((0, 2, 3))
    self.assertTrue((largest_H < 1.01 * bound_H).all())
    self.assertTrue((largest_H > bound_H / 20).all())

  def test_the_op_gets_the_rule_of_pruning(self):
    mixer = forgetting.ForgettingMixer(num_heads=2, prune="magic")
    with self.assertRaisesRegex(ValueError, "prune='magic' is not None, one"):
      mixer.init(jax.random.key(0), jnp.zeros((1, 7, 8)), POSITIONS)

  @parameterized.parameters(
    ("forgetting", 64, 2048 * 2, 757),
    ("softmax", 128, 2048 * 2, 756),
    ("forgetting_pro", 64, 3584, 759),
    ("softmax_pro", 128, 3584, 757),
  )
  def test_sizes_are_those_of_table_6(
    self, mixer, head_width, features, millions
  ):
    E = 1536
    self.assertEqual(
      layers.gated_width(E, 3.5 if "pro" in mixer else 4), features
    )
    config = transformer.Config(
      vocab_size=50_257,
      width=E,
      num_layers=24,
      num_heads=E // head_width,
      mixer=mixer,
      feed_forward="swiglu",
      feed_forward_width=features,
      scan_layers=True,
    )
    model = transformer.Transformer(config)
    shapes = jax.eval_shape(
      model.init, jax.random.key(0), jnp.zeros((1, 1), int)
    )
    count = sum(x.size for x in jax.tree.leaves(shapes))
    # Without the embeddings of the input, rounded down.
    self.assertEqual((count - 50_257 * E) // 1_000_000, millions)

  @parameterized.parameters(
    (dict(gate="soft"), r"gate='soft' is not one of \['bias', 'fixed', 'full'"),
    (dict(reach=(0, 2)), r"reach=\(0, 2\) is not 0 < low <= high"),
    (dict(reach=(4, 2)), r"reach=\(4, 2\) is not 0 < low <= high"),
  )
  def test_wrong_fields_are_named(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      forgetting.ForgettingMixer(num_heads=2, **fields)


if __name__ == "__main__":
  absltest.main()
