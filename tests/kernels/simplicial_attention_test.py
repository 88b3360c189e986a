"""Tests for simplex/kernels/simplicial_attention: signature, reference, XLA."""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex import kernels
from simplex.kernels.simplicial_attention import api, forms, reference, xla
from tests.kernels import conformance

CASES = (
  dict(testcase_name="all"),
  dict(testcase_name="full", causal=False),
  dict(testcase_name="self_only", windows=(1, 1)),
  dict(testcase_name="windows", windows=(3, 7)),
  dict(testcase_name="long_window_first", windows=(9, 2)),
  dict(testcase_name="one_window", windows=(None, 4)),
  dict(testcase_name="full_windows", windows=(4, 7), causal=False),
  dict(testcase_name="scaled", scale=0.7, windows=(5, 5)),
  dict(testcase_name="more_keys", S=22, windows=(3, None)),
  dict(testcase_name="more_keys_full", S=22, causal=False, windows=(8, 3)),
  dict(testcase_name="one_query", T=1, S=11, windows=(4, 9)),
  dict(testcase_name="one_key_head", G=1, windows=(3, 6)),
  dict(testcase_name="as_many_key_heads", G=4, windows=(3, 6)),
  dict(testcase_name="segments", segments=True),
  dict(testcase_name="segments_full", segments=True, causal=False, S=22),
  dict(testcase_name="segments_in_windows", segments=True, windows=(6, 3)),
  dict(testcase_name="determinant", form="determinant", windows=(3, 7)),
  dict(testcase_name="determinant_swapped", form="determinant", windows=(9, 2)),
  dict(testcase_name="rotary", form="rotary", windows=(3, 7)),
  dict(testcase_name="rotary_swapped", form="rotary", windows=(9, 2)),
  dict(testcase_name="strassen", form="strassen", windows=(3, 7)),
  dict(testcase_name="strassen_swapped", form="strassen", windows=(9, 2)),
)


def random_inputs(B=2, T=13, S=13, H=4, G=2, D=7, dtype="float32"):
  keys = jax.random.split(jax.random.key(0), 5)
  shapes = ((B, T, H, D), *[(B, S, G, D)] * 4)
  pairs = zip(keys, shapes, strict=True)
  return [jax.random.normal(*pair).astype(dtype) for pair in pairs]


def packed_segments(B, S):
  return (jnp.arange(S) + 3 * jnp.arange(B)[:, None]) // 6


def op(implementation, **settings):
  return functools.partial(
    kernels.simplicial_attention_with_lse,
    implementation=implementation,
    **settings,
  )


def attend(implementation, spans, *inputs):
  """The op on spans that no window gives."""
  settings = {"form": "trilinear", "scale": None}
  return api.attend(
    *inputs,
    None,
    None,
    None,
    spans=spans,
    implementation=implementation,
    **settings,
  )


def small_tiles():
  """So that few positions make several tiles each way."""
  sizes = {"TILE": {"cpu": 800}, "LONGEST": {"j": 3, "c": 4}}
  return mock.patch.multiple(xla, **sizes)


class SimplicialAttentionTest(chex.TestCase):
  @parameterized.named_parameters(*CASES)
  def test_xla_matches_reference(
    self, segments=False, T=13, S=13, G=2, **settings
  ):
    inputs = random_inputs(T=T, S=S, G=G)
    if segments:
      settings["segments_BS"] = packed_segments(2, S)
    with small_tiles():
      conformance.assert_matches(
        op("xla", **settings), op("reference", **settings), *inputs
      )

  def test_one_tile_matches_reference(self):
    conformance.assert_matches(op("xla"), op("reference"), *random_inputs())

  @parameterized.product(form=tuple(forms.FORMS), magnitude=(1, 2))
  def test_error_is_that_of_the_number_format(self, form, magnitude):
    inputs = [magnitude * x for x in random_inputs(B=1, T=40, S=40, D=64)]
    exact = lambda *xs: reference.forward(
      *xs,
      *[None] * 3,
      spans=((8, 0), (29, 0)),
      form=form,
      scale=64**-0.5,
    )
    for dtype, tolerances in (
      ("float32", (2e-6, 1e-5)),
      ("bfloat16", (1e-2, 2e-2)),
    ):
      rounded = [x.astype(dtype) for x in inputs]
      fn = op("xla", windows=(9, 30), form=form)
      errors = conformance.errors_to_float64(fn, exact, *rounded)
      for error, tolerance in zip(errors, tolerances, strict=True):
        self.assertLess(error, tolerance)

  @parameterized.parameters("trilinear", "strassen")
  def test_transformations_change_nothing(self, form):
    conformance.assert_transformable(
      op("xla", windows=(3, 5), form=form), *random_inputs(T=7, S=7)
    )

  def test_sharded_batch_is_not_gathered(self):
    conformance.assert_keeps_shards(
      op("xla", windows=(3, 5)), *random_inputs(B=4)
    )

  def test_a_second_run_gives_the_same_bits(self):
    fn = jax.jit(lambda *xs: conformance.value_and_grads(op("xla"), *xs))
    inputs = random_inputs()
    chex.assert_trees_all_equal(fn(*inputs), fn(*inputs))

  @parameterized.parameters("reference", "xla")
  def test_rows_that_see_nothing_are_zero(self, name):
    # Keys that are 2 or 3 positions old: the first two queries have none.
    fn = functools.partial(attend, name, ((3, -2), (12, 0)))
    (out, lse), grads = conformance.value_and_grads(fn, *random_inputs())
    self.assertEqual(float(jnp.abs(out[:, :2]).max()), 0)
    self.assertTrue((lse[:, :2] == -jnp.inf).all())
    self.assertTrue((lse[:, 2:] > -jnp.inf).all())
    chex.assert_tree_all_finite(grads)
    self.assertEqual(float(jnp.abs(grads[0][:, :2]).max()), 0)
    self.assertGreater(float(jnp.abs(grads[0][:, 2]).max()), 0)

  @parameterized.parameters("reference", "xla")
  def test_one_visible_pair_has_no_gradient_of_its_score(self, name):
    inputs = random_inputs()
    fn = lambda *xs: op(name, windows=(1, 1))(*xs)[0]
    out, (d_q, d_k1, _, d_k2, _) = conformance.value_and_grads(fn, *inputs)
    v1, v2 = (jnp.repeat(inputs[i], 2, axis=2) for i in (2, 4))
    chex.assert_trees_all_close(out, v1 * v2, rtol=1e-6)
    chex.assert_trees_all_close([d_q, d_k1, d_k2], [0.0] * 3, atol=2e-6)

  @parameterized.parameters("reference", "xla")
  def test_windows_see_exactly_their_keys(self, name):
    inputs = random_inputs(B=1, T=8, S=8, H=1, G=1)
    for causal, first, second in (
      (True, (4, 5), (2, 3, 4, 5)),
      (False, (4, 5), (3, 4, 5, 6)),
    ):
      attend = op(name, windows=(2, 4), causal=causal)
      total = lambda *xs, attend=attend: attend(*xs)[0][0, 5].sum()
      for argnum, keys in ((2, first), (4, second)):
        d_v = jax.grad(total, argnum)(*inputs)
        seen = jnp.flatnonzero(jnp.abs(d_v)[0, :, 0].max(-1))
        self.assertEqual(seen.tolist(), list(keys))

  def test_lse_merges_windows(self):
    inputs = random_inputs()
    spans = ((1, 0), (12, 0)), ((3, -2), (12, 0))
    parts = [attend("xla", span, *inputs) for span in spans]
    out, lse = (jnp.stack(x) for x in zip(*parts, strict=True))
    whole, whole_lse = op("xla", windows=(4, 13))(*inputs)
    total = jax.nn.logsumexp(lse, axis=0)
    merged = (jnp.exp(lse - total)[..., None] * out).sum(0)
    chex.assert_trees_all_close((merged, total), (whole, whole_lse), atol=1e-5)

  @parameterized.parameters("reference", "xla")
  def test_rotary_form_sees_distances_alone(self, name):
    q, k1, v1, k2, v2 = random_inputs(D=8)
    frequency = jnp.array([1.0, 0.3, 0.1, 0.03])

    def turn(x, positions):
      angle = positions[:, None, None] * frequency
      re, im = jnp.split(x, 2, axis=-1)
      cos, sin = jnp.cos(angle), jnp.sin(angle)
      return jnp.concatenate([re * cos - im * sin, im * cos + re * sin], -1)

    def at(offset):
      t = jnp.arange(13) + offset
      turned = turn(q, 2 * t), turn(k1, t), v1, turn(k2, t), v2
      return op(name, form="rotary", windows=(5, 9))(*turned)

    chex.assert_trees_all_close(at(0), at(40), atol=2e-5)
    self.assertGreater(
      jnp.abs(at(0)[0] - op(name)(q, k1, v1, k2, v2)[0]).max(), 0.1
    )

  def test_determinant_is_antisymmetric_and_invariant_to_rotation(self):
    q, k1, _, k2, _ = random_inputs(D=6, G=4)
    logits = reference.LOGITS["determinant"]
    swapped = logits(q, k2, k1).swapaxes(-1, -2)
    chex.assert_trees_all_close(logits(q, k1, k2), -swapped, atol=1e-5)
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turn *= np.linalg.det(turn)
    turned = [x.reshape(*x.shape[:-1], 2, 3) @ turn for x in (q, k1, k2)]
    turned = logits(*(x.reshape(q.shape) for x in turned))
    chex.assert_trees_all_close(logits(q, k1, k2), turned, atol=1e-4)

  @parameterized.parameters(3, 6, 7, 8)
  def test_determinant_is_that_of_chunks_of_three(self, D):
    q, k1, _, k2, _ = random_inputs(D=D, G=4)
    logits = reference.LOGITS["determinant"](q, k1, k2)[1, 2, 3, 4, 5]
    rows = np.array([q[1, 3, 2], k1[1, 4, 2], k2[1, 5, 2]], np.float64)
    whole = D - D % 3
    expected = (
      sum(np.linalg.det(rows[:, i : i + 3]) for i in range(0, whole, 3))
      + np.prod(rows[:, whole:], axis=0).sum()
    )
    self.assertAlmostEqual(float(logits), expected, places=4)

  def test_constant_keys_give_ordinary_attention(self):
    q, k, v, _, _ = random_inputs()
    ones = jnp.ones_like(k)
    out = kernels.simplicial_attention(q, k, v, ones, ones, windows=(5, 1))
    same = kernels.dot_product_attention(q, k, v, window=5)
    chex.assert_trees_all_close(out, same, atol=1e-5)

  def test_memory_is_linear_in_length(self):
    def temporary_bytes(T):
      x = jax.ShapeDtypeStruct((1, T, 1, 8), jnp.float32)
      fn = lambda *xs: conformance.value_and_grads(op("xla"), *xs)
      memory = jax.jit(fn).lower(*[x] * 5).compile().memory_analysis()
      return memory.temp_size_in_bytes

    self.assertLess(temporary_bytes(8192), 3 * temporary_bytes(4096))

  def test_program_does_not_grow_with_length(self):
    def lines(T):
      x = jax.ShapeDtypeStruct((1, T, 1, 8), jnp.float32)
      return jax.jit(op("xla")).lower(*[x] * 5).as_text().count("\n")

    self.assertEqual(lines(2**16), lines(2**12))

  @parameterized.parameters(
    (dict(T=9, S=8), {}, r"T=9 queries are not between 1 and S=8"),
    (dict(H=3), {}, r"H=3 heads are not a multiple of G=2"),
    ({}, dict(windows=(0, 2)), r"windows=\(0, 2\) are not two of: None, or"),
    ({}, dict(windows=(4,)), r"windows=\(4,\) are not two of: None, or"),
    ({}, dict(form="cubic"), r"form='cubic' is not one of \['determinant', "),
    (dict(dtype="int32"), {}, r"'int32'.*not one of .*float32.*bfloat16"),
    ({}, dict(segments_BS=jnp.ones((2, 13))), r"float32.* is not an integer"),
    (
      {},
      dict(segments_BS=jnp.ones((2, 12), int)),
      r"segments_BS.shape=\(2, 12\) is not \(2, 13\)",
    ),
    ({}, dict(implementation="numpy"), r"'numpy' is not None or one of \["),
  )
  def test_wrong_values_are_named(self, sizes, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      kernels.simplicial_attention(*random_inputs(**sizes), **settings)

  def test_wrong_shapes_are_named(self):
    q, k1, v1, k2, v2 = random_inputs()
    message = r"k2_BSGD.shape=\(2, 12, 2, 7\) is not \(2, 13, 2, 7\)"
    with self.assertRaisesRegex(ValueError, message):
      kernels.simplicial_attention(q, k1, v1, k2[:, 1:], v2)
    message = r"k1_BSGD.shape=\(2, 13, 2, 6\) is not \(2, 13, 2, 7\)"
    with self.assertRaisesRegex(ValueError, message):
      kernels.simplicial_attention(q, k1[..., 1:], v1, k2, v2)


if __name__ == "__main__":
  absltest.main()
