"""Tests for simplex/kernels/simplicial_attention/decode.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels.simplicial_attention import decode
from tests.kernels import simplicial_attention_test as op_test

WINDOWS = (3, 7)


def decoded(inputs, chunks, windows=WINDOWS, padding_B=None, **settings):
  """The outputs of a text that comes in chunks, and the last cache."""
  B, _, G, D = inputs[1].shape
  cache = decode.init(B, windows, G, D, inputs[1].dtype, padding_B)
  extend = jax.jit(lambda cache, *xs: decode.extend(cache, *xs, **settings))
  outs, start = [], 0
  for T in chunks:
    part = (x[:, start : start + T] for x in inputs)
    out_BTHD, cache = extend(cache, *part)
    outs.append(out_BTHD)
    start += T
  return jnp.concatenate(outs, axis=1), cache


class DecodeTest(chex.TestCase):
  @parameterized.parameters(
    dict(chunks=(1,) * 13),
    dict(chunks=(9, 1, 1, 1, 1)),
    dict(chunks=(2, 8, 3)),
    dict(chunks=(13,)),
    dict(chunks=(4, 9), windows=(5, 1)),
    dict(chunks=(6, 1, 6), form="determinant"),
    dict(chunks=(6, 7), form="rotary", windows=(9, 4)),
  )
  def test_chunks_equal_the_whole(self, chunks, windows=WINDOWS, **settings):
    inputs = op_test.random_inputs()
    out, cache = decoded(inputs, chunks, windows, **settings)
    whole = kernels.simplicial_attention(*inputs, windows=windows, **settings)
    chex.assert_trees_all_close(out, whole, atol=1e-5)
    self.assertEqual(int(cache.length), 13)

  def test_padding_before_texts_of_different_length_is_not_seen(self):
    inputs = op_test.random_inputs()
    padding_B = jnp.array([4, 0])
    out, _ = decoded(inputs, (6, 1, 6), padding_B=padding_B)
    segments_BS = jnp.where(jnp.arange(13) < padding_B[:, None], -1, 0)
    whole = kernels.simplicial_attention(
      *inputs, windows=WINDOWS, segments_BS=segments_BS
    )
    chex.assert_trees_all_close(out[0, 4:], whole[0, 4:], atol=1e-5)
    chex.assert_trees_all_close(out[1], whole[1], atol=1e-5)
    self.assertEqual(jnp.abs(out[0, :4]).max(), 0)

  def test_the_cache_does_not_grow(self):
    inputs = op_test.random_inputs()
    _, cache = decoded(inputs, (13,))
    chex.assert_shape([cache.k1, cache.v1], (2, 3, 2, 7))
    chex.assert_shape([cache.k2, cache.v2], (2, 7, 2, 7))
    last = sorted(cache.k1[0, :, 0, 0].tolist())
    self.assertEqual(last, sorted(inputs[1][0, -3:, 0, 0].tolist()))

  def test_a_step_is_one_program_whatever_the_length(self):
    inputs = op_test.random_inputs()
    step = jax.jit(chex.assert_max_traces(decode.extend, n=1))
    cache = decode.init(2, WINDOWS, 2, 7)
    for t in range(4):
      _, cache = step(cache, *(x[:, t : t + 1] for x in inputs))
    self.assertEqual(int(cache.length), 4)

  def test_wrong_values_are_named(self):
    q, *keys = op_test.random_inputs(T=2, S=2)
    with self.assertRaisesRegex(ValueError, r"windows=\(0, 4\) are not two"):
      decode.init(2, (0, 4), 2, 7)
    cache = decode.init(2, WINDOWS, 2, 7, "bfloat16")
    with self.assertRaisesRegex(ValueError, "cache.k1=.*'bfloat16'"):
      decode.extend(cache, q, *keys)
    cache = decode.init(1, WINDOWS, 2, 7)
    message = r"cache.k1.shape=\(1, 3, 2, 7\) is not \(2, 3, 2, 7\)"
    with self.assertRaisesRegex(ValueError, message):
      decode.extend(cache, q, *keys)


if __name__ == "__main__":
  absltest.main()
