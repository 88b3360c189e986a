"""Tests for simplex/kernels/dot_product_attention."""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels import backend
from simplex.kernels.dot_product_attention import xla
from tests.kernels import conformance

IMPLEMENTATIONS = ("xla", "jax_nn")
CASES = (
  dict(testcase_name="causal"),
  dict(testcase_name="full", causal=False),
  dict(testcase_name="scaled", scale=0.7),
  dict(testcase_name="self_only", window=1),
  dict(testcase_name="window", window=5),
  dict(testcase_name="more_keys", S=26),
  dict(testcase_name="more_keys_in_window", S=26, window=7),
  dict(testcase_name="one_query", T=1, S=11),
  dict(testcase_name="one_key_head", G=1),
  dict(testcase_name="segments", segments=True),
  dict(testcase_name="segments_in_window", segments=True, window=4),
  dict(testcase_name="more_keys_in_segments", S=26, segments=True),
)


def random_inputs(B=2, T=19, S=19, H=4, G=2, D=6, dtype="float32"):
  keys = jax.random.split(jax.random.key(0), 3)
  shapes = ((B, T, H, D), (B, S, G, D), (B, S, G, D))
  pairs = zip(keys, shapes, strict=True)
  return [jax.random.normal(*pair).astype(dtype) for pair in pairs]


def packed_segments(B, S):
  return (jnp.arange(S) + 3 * jnp.arange(B)[:, None]) // 8


def op(implementation, **settings):
  return functools.partial(
    kernels.dot_product_attention, implementation=implementation, **settings
  )


class DotProductAttentionTest(chex.TestCase):
  @parameterized.named_parameters(*CASES)
  def test_implementations_match_reference(
    self, segments=False, T=19, S=19, G=2, **settings
  ):
    inputs = random_inputs(T=T, S=S, G=G)
    if segments:
      settings["segments_BS"] = packed_segments(2, S)
    # Small blocks, so that few positions make spans of several blocks.
    with mock.patch.multiple(xla, BLOCK=3, MAX_SPANS=2):
      for name in IMPLEMENTATIONS:
        conformance.assert_matches(
          op(name, **settings), op("reference", **settings), *inputs
        )

  @parameterized.product(
    name=("xla", "jax_nn", "reference"), dtype=("bfloat16", "float16")
  )
  def test_half_precision_is_near_float32(self, name, dtype):
    inputs = random_inputs(dtype=dtype)
    exact = op("reference")(*(x.astype(jnp.float32) for x in inputs))
    out = op(name)(*inputs)
    self.assertEqual(out.dtype, dtype)
    chex.assert_trees_all_close(out.astype(jnp.float32), exact, atol=0.03)

  @parameterized.parameters(*IMPLEMENTATIONS)
  def test_transformations_change_nothing(self, name):
    conformance.assert_transformable(
      op(name, window=5), *random_inputs(T=7, S=7)
    )

  @parameterized.parameters(*IMPLEMENTATIONS)
  def test_sharded_batch_is_not_gathered(self, name):
    conformance.assert_keeps_shards(op(name), *random_inputs(B=4))

  def test_huge_logits_do_not_overflow(self):
    q, k, v = random_inputs()
    out, grads = conformance.value_and_grads(op("xla"), 1e4 * q, k, v)
    chex.assert_tree_all_finite((out, grads))

  def test_window_sees_exactly_its_keys(self):
    q, k, v = random_inputs(B=1, T=8, S=8, H=1, G=1)
    for name in ("reference", *IMPLEMENTATIONS):
      total = lambda v, name=name: op(name, window=3)(q, k, v)[0, 5].sum()
      seen = jnp.abs(jax.grad(total)(v))[0, :, 0, 0] > 0
      self.assertEqual(seen.tolist(), [i in (3, 4, 5) for i in range(8)])

  def test_memory_is_linear_in_length(self):
    def temporary_bytes(T):
      x = jax.ShapeDtypeStruct((1, T, 1, 8), jnp.float32)
      fn = lambda *xs: conformance.value_and_grads(op("xla"), *xs)
      memory = jax.jit(fn).lower(x, x, x).compile().memory_analysis()
      return memory.temp_size_in_bytes

    self.assertLess(temporary_bytes(8192), 3 * temporary_bytes(4096))

  def test_program_stays_small(self):
    def lines(T):
      x = jax.ShapeDtypeStruct((1, T, 1, 8), jnp.float32)
      return jax.jit(op("xla")).lower(x, x, x).as_text().count("\n")

    self.assertLess(lines(2**16), 2 * lines(2**11))

  @parameterized.parameters(
    (dict(T=9, S=8), {}, r"T=9 queries are not between 1 and S=8"),
    (dict(T=0), {}, r"T=0 queries are not between 1 and S=19"),
    (dict(H=3), {}, r"H=3 heads are not a multiple of G=2"),
    ({}, dict(window=0), r"window=0 is not None or at least 1"),
    ({}, dict(window=2, causal=False), r"window=2 needs causal=True"),
    (dict(dtype="int32"), {}, r"'int32'.*not one of .*float32.*bfloat16"),
    ({}, dict(segments_BS=jnp.ones((2, 19))), r"float32.* is not an integer"),
    (
      {},
      dict(implementation="numpy"),
      r"'numpy' is not None or one of \['jax_",
    ),
    ({}, dict(implementation="gpu_triton"), r"'gpu_triton' is not None or one"),
  )
  def test_wrong_values_are_named(self, sizes, settings, message):
    with self.assertRaisesRegex(ValueError, message):
      kernels.dot_product_attention(*random_inputs(**sizes), **settings)

  def test_mixed_types_are_named(self):
    q, k, v = random_inputs()
    with self.assertRaisesRegex(ValueError, "'bfloat16', 'float32'.* not one"):
      kernels.dot_product_attention(q.astype(jnp.bfloat16), k, v)

  def test_wrong_shapes_are_rejected(self):
    q, k, v = random_inputs()
    with self.assertRaisesRegex(ValueError, r"v_BSGD.shape=\(2, 19, 2, 6\) is"):
      kernels.dot_product_attention(q, k[:, 1:], v)

  def test_jax_nn_says_what_it_cannot_do(self):
    q = jax.ShapeDtypeStruct((8, 2**14, 1, 8), jnp.float32)
    with self.assertRaisesRegex(NotImplementedError, "holds all logits"):
      jax.eval_shape(op("jax_nn"), q, q, q)
    with mock.patch.object(backend, "platform", return_value="gpu"):
      with self.assertRaisesRegex(NotImplementedError, "got float32"):
        op("jax_nn")(*random_inputs())
      with self.assertRaisesRegex(NotImplementedError, "got D=6"):
        op("jax_nn")(*random_inputs(dtype="bfloat16"))


if __name__ == "__main__":
  absltest.main()
