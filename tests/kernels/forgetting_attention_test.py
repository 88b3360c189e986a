"""Tests for simplex/kernels/forgetting_attention: signature, reference, XLA."""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch import conformance as suite
from simplex import kernels
from simplex.kernels.forgetting_attention import (
  gates,
  pruning,
  reference,
  xla,
)
from tests.kernels import conformance

CASES = (
  dict(testcase_name="causal"),
  dict(testcase_name="window", window=9),
  dict(testcase_name="more_keys", T=13, window=17, scale=-0.7),
  dict(testcase_name="one_query_and_key_head", T=1, G=1),
  dict(testcase_name="segments", segments=True),
  dict(testcase_name="segments_in_windows", segments=True, window=6, T=22),
  dict(testcase_name="wide_and_as_many_key_heads", D=256, T=9, G=4),
  dict(testcase_name="narrow_and_one_key_head", D=16, G=1),
)
RULES = (-60.0, *pruning.RULES)


def random_inputs(B=2, T=37, S=37, H=4, G=2, D=8, mean=2.0, dtype="float32"):
  keys = jax.random.split(jax.random.key(0), 4)
  shapes = ((B, T, H, D), *[(B, S, G, D)] * 2)
  q, k, v = (
    jax.random.normal(*pair).astype(dtype)
    for pair in zip(keys[:3], shapes, strict=True)
  )
  logits_BSH = mean + jax.random.normal(keys[3], (B, S, H))
  return [q, k, v, jax.nn.log_sigmoid(logits_BSH)]


def packed_segments(B, S):
  """Short sequences, with padding on the left and on the right."""
  segments_BS = (jnp.arange(S) + 3 * jnp.arange(B)[:, None]) // 12
  segments_BS = segments_BS.at[0, :5].set(-1)
  return segments_BS.at[1, -2:].set(-7)


def op(implementation="xla", **settings):
  """Values and normalisers; of rows that see nothing, the latter are 0."""

  @jax.jit
  def attend(*inputs):
    out, lse, _ = kernels.forgetting_attention_with_statistics(
      *inputs, implementation=implementation, **settings
    )
    return out, jnp.where(lse == -jnp.inf, 0, lse)

  return attend


def value_and_grads(fn, *inputs):
  return jax.jit(lambda *xs: conformance.value_and_grads(fn, *xs))(*inputs)


def walk(*inputs, window=None, prune=None, segments_BS=None):
  """What `op` gives, the fraction skipped and the blocks that are first."""
  S, D = inputs[1].shape[1], inputs[0].shape[-1]
  static = {"scale": D**-0.5, "window": window or S, "prune": prune}
  forward = jax.jit(functools.partial(xla.BACKEND.forward, **static))
  (out_BTHD, _, skipped_BH), residuals = forward(*inputs, segments_BS)
  return out_BTHD, skipped_BH, np.asarray(residuals[3])


def small_tiles():
  """So that few positions make several tiles, none of them square."""
  return mock.patch.multiple(xla, BLOCK_Q=8, BLOCK_K=5)


def pairs_in_float64(q, k, v, log_f, window=None):
  """Probabilities and values from decays that are summed pair by pair."""
  q, k, v, log_f = (np.asarray(x, np.float64) for x in (q, k, v, log_f))
  T, S, g = q.shape[1], k.shape[1], q.shape[2] // k.shape[2]
  k, v = (np.repeat(x, g, axis=2) for x in (k, v))
  sums = np.cumsum(log_f, axis=1)
  age = (S - T + np.arange(T))[:, None] - np.arange(S)
  seen = (age >= 0) & (age < (window or S))
  decay = sums[:, S - T :, None] - sums[:, None]
  logits = np.einsum("BTHD,BSHD->BTSH", q, k) / np.sqrt(q.shape[-1])
  logits = np.where(seen[..., None], logits + decay, -np.inf)
  weights = np.exp(logits - logits.max(2, keepdims=True))
  probs = weights / weights.sum(2, keepdims=True)
  return probs, np.einsum("BTSH,BSHD->BTHD", probs, v)


class ForgettingAttentionTest(parameterized.TestCase):
  @parameterized.named_parameters(*CASES)
  def test_xla_matches_float64(
    self, segments=False, T=37, G=2, D=8, window=None, scale=0.3
  ):
    inputs = random_inputs(T=T, G=G, D=D)
    segments_BS = packed_segments(2, 37) if segments else None

    def exact(*xs):
      static = {"scale": scale, "window": window or 37, "prune": None}
      (out, lse, _), _ = reference.forward(*xs, segments_BS, **static)
      return (out, jnp.where(lse == -jnp.inf, 0, lse)), None

    fn = op(scale=scale, window=window, segments_BS=segments_BS)
    with small_tiles():
      errors = conformance.errors_to_float64(fn, exact, *inputs)
    np.testing.assert_array_less(errors, (2e-6, 1e-5))

  @parameterized.parameters("bfloat16", "float16")
  def test_error_of_half_precision_is_that_of_the_number_format(self, dtype):
    inputs = random_inputs(dtype=dtype)
    static = {"scale": 8**-0.5, "window": 37, "prune": None}
    exact = lambda *xs: ((reference.forward(*xs, None, **static)[0][:2]), None)
    with small_tiles():
      self.assertEqual(op()(*inputs)[0].dtype, dtype)
      errors = conformance.errors_to_float64(op(), exact, *inputs)
    np.testing.assert_array_less(errors, (1e-2, 2e-2))

  def test_every_implementation_that_runs_here_conforms(self):
    found = suite.OPS["forgetting_attention"]
    case = found.cases["odd"]._replace(T=20, S=41)
    small = found._replace(cases={"odd": case})
    with mock.patch.dict(suite.OPS, {"forgetting_attention": small}):
      rows = suite.rows_of("forgetting_attention", "odd", "float32")
      passes = {row["implementation"]: row.get("passes") for row in rows}
    self.assertTrue(passes["reference"])
    self.assertTrue(passes["xla"])

  def test_transformations_change_nothing(self):
    inputs = random_inputs(T=11, S=13, mean=0.0)
    with small_tiles():
      conformance.assert_transformable(op(prune="online"), *inputs)

  def test_sharded_batch_is_not_gathered(self):
    mesh = conformance.make_mesh((2,), ("data",))
    with small_tiles():
      conformance.assert_keeps_shards(
        op(prune="online"), *random_inputs(B=4, T=11, S=13), mesh=mesh
      )

  @parameterized.parameters("reference", "xla")
  def test_gates_of_one_are_causal_attention(self, name):
    q, k, v, log_f = random_inputs(B=1)
    ones = jnp.zeros_like(log_f)
    ours = lambda *xs: op(name)(*xs, ones)[0]
    theirs = functools.partial(jax.nn.dot_product_attention, is_causal=True)
    both = [value_and_grads(fn, q, k, v) for fn in (ours, theirs)]
    chex.assert_trees_all_close(*both, atol=1e-5)

  @parameterized.parameters("reference", "xla")
  def test_a_constant_gate_is_a_bias_of_the_distance(self, name):
    q, k, v, log_f = random_inputs(B=1, G=4)
    slopes_H = jnp.array([0.5, 0.25, 0.125, 0.0625])
    positions = jnp.arange(37)
    bias_HTS = slopes_H[:, None, None] * (positions - positions[:, None])
    out = op(name)(q, k, v, jnp.broadcast_to(-slopes_H, log_f.shape))[0]
    alibi = jax.nn.dot_product_attention(
      q, k, v, bias_HTS[None], is_causal=True
    )
    chex.assert_trees_all_close(out, alibi, atol=1e-5)

  @parameterized.product(name=("reference", "xla"), log_f=(-1e3, -np.inf))
  def test_closed_gates_give_the_newest_value(self, name, log_f):
    q, k, v, gates_BSH = random_inputs()
    closed = jnp.full_like(gates_BSH, log_f)
    with small_tiles():
      (out, _), grads = value_and_grads(op(name), q, k, v, closed)
    chex.assert_trees_all_equal(out, jnp.repeat(v, 2, axis=2))
    chex.assert_tree_all_finite(grads)
    self.assertLess(float(jnp.abs(grads[3]).max()), 1e-4)

  def test_one_closed_gate_forgets_all_before_and_nothing_after(self):
    q, k, v, log_f = random_inputs(B=1)
    closed = log_f.at[:, 21].set(-jnp.inf)
    apart = op(segments_BS=jnp.arange(37)[None] // 21)(q, k, v, log_f)
    with small_tiles():
      out = op()(q, k, v, closed)
    chex.assert_trees_all_close(out, apart, atol=1e-6)

  @parameterized.parameters(
    (False, None, None),
    (False, 6, "online"),
    (True, None, "online"),
    (True, 6, None),
  )
  def test_the_first_gate_that_is_seen_has_no_gradient(
    self, segments, window, prune
  ):
    inputs = random_inputs()
    segments_BS = packed_segments(2, 37) if segments else None
    fn = op(segments_BS=segments_BS, window=window, prune=prune)
    with small_tiles():
      d_log_f = value_and_grads(fn, *inputs)[1][3]
    first_BS = jnp.broadcast_to(jnp.arange(37) == 0, (2, 37))
    if segments:
      before = jnp.pad(segments_BS, ((0, 0), (1, 0)), constant_values=-1)
      first_BS = (segments_BS != before[:, :-1]) | (segments_BS < 0)
    of_first = jnp.where(first_BS[..., None], d_log_f, 0)
    self.assertEqual(float(jnp.abs(of_first).max()), 0)
    of_others = jnp.where(first_BS[..., None], jnp.inf, jnp.abs(d_log_f))
    self.assertGreater(float(of_others.min()), 0)

  @parameterized.parameters("reference", "xla")
  def test_rows_that_see_nothing_are_zero(self, name):
    inputs = random_inputs()
    segments_BS = packed_segments(2, 37)
    fn = functools.partial(
      kernels.forgetting_attention_with_statistics,
      segments_BS=segments_BS,
      prune="online",
      implementation=name,
    )
    with small_tiles():
      out, lse, _ = jax.jit(fn)(*inputs)
    nothing = segments_BS < 0
    self.assertEqual(float(jnp.abs(out[nothing]).max()), 0)
    self.assertTrue((lse[nothing] == -jnp.inf).all())
    self.assertTrue((lse[~nothing] > -jnp.inf).all())

  @parameterized.parameters("reference", "xla")
  def test_padding_may_hold_anything_and_gets_no_gradient(self, name):
    inputs = random_inputs()
    segments_BS = packed_segments(2, 37)
    padding = segments_BS < 0
    fn = op(name, segments_BS=segments_BS)
    fn = jax.jit(functools.partial(conformance.value_and_grads, fn))
    with small_tiles():
      plain = fn(*inputs)
      other = fn(*inputs[:3], jnp.where(padding[..., None], jnp.nan, inputs[3]))
    chex.assert_trees_all_equal(plain, other)
    for d_x in plain[1]:
      self.assertEqual(float(jnp.abs(d_x[padding]).max()), 0)


class LongContextTest(parameterized.TestCase):
  @parameterized.parameters(2**16, 2**18)
  def test_near_pairs_decay_exactly(self, S):
    rng = np.random.default_rng(0)
    log_f = -np.log1p(np.exp(-rng.normal(size=(1, 1, S)))).astype(np.float32)
    high, low = gates.prefix_sums(jnp.asarray(log_f))
    near = [x[..., n:] for x in (high, low) for n in (7, 0)]
    near = [x[..., : S - 7] for x in near]
    found = gates.decay(near[0], near[2], near[1], near[3])
    sums = np.cumsum(log_f.astype(np.float64), axis=-1)
    exact = sums[..., 7:] - sums[..., :-7]
    np.testing.assert_allclose(found, exact, rtol=2e-7)
    plain = np.cumsum(log_f, axis=-1)
    wrong = np.abs(plain[..., 7:] - plain[..., :-7] - exact).max()
    self.assertGreater(wrong, 1e-3)

  @parameterized.parameters(0.0, 4.0)
  def test_64k_tokens_are_exact(self, mean):
    inputs = random_inputs(B=1, T=3, S=2**16, H=2, G=1, D=16, mean=mean)
    (out, _), grads = value_and_grads(op(), *inputs)
    _, exact = pairs_in_float64(*inputs)
    error = np.linalg.norm(out - exact) / np.linalg.norm(exact)
    self.assertLess(error, 1e-5)
    chex.assert_tree_all_finite(grads)
    self.assertEqual(float(grads[3][0, 0].max()), 0)

  def test_memory_is_linear_in_length(self):
    def temporary_bytes(T):
      x = jax.ShapeDtypeStruct((1, T, 1, 8), jnp.float32)
      log_f = jax.ShapeDtypeStruct((1, T, 1), jnp.float32)
      fn = lambda *xs: conformance.value_and_grads(op(prune="online"), *xs)
      compiled = jax.jit(fn).lower(x, x, x, log_f).compile()
      return compiled.memory_analysis().temp_size_in_bytes

    self.assertLess(temporary_bytes(2**15), 2.5 * temporary_bytes(2**14))


class PruningTest(parameterized.TestCase):
  @parameterized.product(prune=RULES, case=((-3.0, 40, 96), (-0.5, None, 50)))
  def test_what_is_left_out_weighs_less_than_promised(self, prune, case):
    mean, window, T = case
    inputs = random_inputs(B=1, T=T, S=96, mean=mean)
    with small_tiles():
      out_BTHD, skipped_BH, first_BHM = walk(
        *inputs, window=window, prune=prune
      )
    probs_BTSH, exact = pairs_in_float64(*inputs, window)
    first_key_BHT = np.repeat(5 * first_BHM, 8, axis=-1)[..., :T]
    left_out = np.arange(96) < first_key_BHT[..., None]
    lost = np.where(left_out, np.moveaxis(probs_BTSH, 3, 1), 0).sum(-1)
    self.assertGreater(lost.max(), 0)
    self.assertLessEqual(lost.max(), np.exp(-10))
    self.assertGreater(float(skipped_BH.min()), 0)
    np.testing.assert_allclose(out_BTHD, exact, atol=2e-4)

  @parameterized.parameters(*RULES)
  def test_gradients_are_close_to_those_of_everything(self, prune):
    inputs = random_inputs(B=1, T=96, S=96, mean=0.0)
    with small_tiles():
      pruned, plain = (
        value_and_grads(op(prune=x), *inputs) for x in (prune, None)
      )
    chex.assert_trees_all_close(pruned, plain, atol=2e-4, rtol=2e-4)

  @parameterized.parameters(*RULES)
  def test_backward_skips_what_forward_skips(self, prune):
    q, k, v, log_f = random_inputs(B=1, T=40, S=96, G=4, mean=-0.5)
    with small_tiles():
      _, _, first_BHM = walk(q, k, v, log_f, prune=prune)
      total = lambda v: op(prune=prune)(q, k, v, log_f)[0][:, 32:].sum()
      d_v_BSHD = jax.grad(total)(v)
    for head, first in enumerate(first_BHM[0, :, 4]):
      touched_S = np.abs(d_v_BSHD[0, :, head]).max(-1) > 0
      self.assertGreater(first, 0)
      self.assertEqual(np.flatnonzero(touched_S)[0], 5 * first)

  def test_online_skips_more_than_the_paper_and_gates_of_one_nothing(self):
    *qkv, log_f = random_inputs(B=2, T=128, S=128, mean=1.0)
    log_f = log_f.at[1].set(0)
    with small_tiles():
      paper, online = (
        walk(*qkv, log_f, prune=rule)[1] for rule in pruning.RULES
      )
    self.assertTrue((online[0] > paper[0]).all())
    self.assertTrue((paper[0] > 0).all())
    chex.assert_trees_all_equal((paper[1], online[1]), (jnp.zeros(4),) * 2)

  def test_padding_does_not_hold_up_the_walk(self):
    inputs = random_inputs(B=1, T=61, S=61, mean=-1.0)
    padded = {"segments_BS": jnp.where(jnp.arange(61) < 50, 0, -1)[None]}
    with small_tiles():
      _, skipped_BH, _ = walk(*inputs, prune="online", **padded)
    self.assertGreater(float(skipped_BH.min()), 0.4)

  def test_heads_skip_what_they_forget_themselves(self):
    q, k, v, log_f = random_inputs(B=1, T=96, S=96, H=2, G=1)
    log_f = log_f.at[:, :, 0].set(-2.0).at[:, :, 1].set(0.0)
    with small_tiles():
      _, skipped_BH, _ = walk(q, k, v, log_f, prune="online")
    self.assertGreater(float(skipped_BH[0, 0]), 0.5)
    self.assertEqual(float(skipped_BH[0, 1]), 0)


class ErrorsTest(parameterized.TestCase):
  @parameterized.parameters(
    (dict(T=9, S=8), {}, r"T=9 queries are not between 1 and S=8"),
    (dict(H=3), {}, r"H=3 heads are not a multiple of G=2"),
    (dict(dtype="int32"), {}, r"'int32'.*not one of .*float32.*bfloat16"),
    ({}, dict(window=0), r"window=0 is not None or at least 1"),
    ({}, dict(prune=0.0), r"prune=0.0 is not None, one of .*'paper', 'online'"),
    (
      {},
      dict(prune="best"),
      r"prune='best' is not None, one of .*a number bel",
    ),
    (
      {},
      dict(prune=-1.0),
      r"prune=-1.0 may lose more than e\^-10.0 .* at most -",
    ),
    ({}, dict(segments_BS=jnp.ones((2, 37))), r"float32.* is not an integer"),
    ({}, dict(segments_BS=jnp.ones((2, 36), int)), r"s_BS.shape=\(2, 36\) is "),
    ({}, dict(implementation="numpy"), r"'numpy' is not None or one of \["),
  )
  def test_wrong_values_are_named(self, sizes, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      kernels.forgetting_attention(*random_inputs(**sizes), **settings)

  @parameterized.parameters(
    (1, r"v_BSGD.shape=\(2, 37, 2, 8\) is not \(2, 36, 2, 8\)"),
    (3, r"log_f_BSH.shape=\(2, 36, 4\) is not \(2, 37, 4\)"),
  )
  def test_wrong_shapes_are_named(self, number, message):
    inputs = random_inputs()
    inputs[number] = inputs[number][:, 1:]
    with self.assertRaisesRegex(ValueError, message):
      kernels.forgetting_attention(*inputs)

  @parameterized.parameters(0.25, np.nan)
  def test_gates_above_one_are_named(self, wrong):
    *qkv, log_f = random_inputs()
    message = rf"log_f_BSH\[1, 3, 2\]={wrong} is not at most 0: give the log of"
    with self.assertRaisesRegex(ValueError, message):
      kernels.forgetting_attention(*qkv, log_f.at[1, 3, 2].set(wrong))

  def test_gates_of_another_dtype_are_named(self):
    *qkv, log_f = random_inputs()
    with self.assertRaisesRegex(
      ValueError, "bfloat16.* is not float32, as gat"
    ):
      kernels.forgetting_attention(*qkv, log_f.astype(jnp.bfloat16))


if __name__ == "__main__":
  absltest.main()
