"""Tests for simplex/kernels/forgetting_attention/decode.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels.forgetting_attention import decode


def random_inputs(T=13, dtype="float32", gate=2.0):
  """Queries, keys, values and log gates of two texts."""
  keys = jax.random.split(jax.random.key(0), 4)
  normal = lambda key, *shape: jax.random.normal(key, (2, T, *shape))
  q, k, v, gates = (
    normal(key, n, 8) for key, n in zip(keys, (4, 2, 2, 4), strict=True)
  )
  log_f_BTH = jax.nn.log_sigmoid(gate + gates[..., 0])
  return *(x.astype(dtype) for x in (q, k, v)), log_f_BTH


def decoded(inputs, chunks, slots, **settings):
  """The outputs of texts that come in chunks, and the last cache."""
  (B, _, H, D), G = inputs[0].shape, inputs[1].shape[2]
  dtype = inputs[0].dtype
  cache = decode.init(B, slots, H, G, D, dtype=dtype, **settings)
  return extended(cache, inputs, chunks)


def extended(cache, inputs, chunks):
  extend, outs, start = jax.jit(decode.extend), [], 0
  for T in chunks:
    part = (x[:, start : start + T] for x in inputs)
    out_BTHD, cache = extend(cache, *part)
    outs.append(out_BTHD)
    start += T
  return jnp.concatenate(outs, axis=1), cache


def whole(inputs, **settings):
  return kernels.forgetting_attention(
    *inputs, implementation="reference", **settings
  )


class DecodeTest(chex.TestCase):
  @parameterized.parameters(
    dict(chunks=(1,) * 13),
    dict(chunks=(8, 1, 1, 1, 1, 1), slots=13),
    dict(chunks=(2, 9, 2), slots=5),
    dict(chunks=(6, 7), slots=1),
    dict(chunks=(9, 4), dtype="bfloat16", tol=2e-2),
  )
  def test_chunks_equal_the_whole_in_a_window_of_the_slots(
    self, chunks, slots=20, dtype="float32", tol=1e-5
  ):
    inputs = random_inputs(dtype=dtype)
    out, cache = decoded(inputs, chunks, slots)
    chex.assert_trees_all_close(out, whole(inputs, window=slots), atol=tol)
    self.assertEqual(out.dtype, dtype)
    self.assertEqual(int(cache.length), 13)
    chex.assert_shape([cache.k, cache.v], (2, 2, slots, 8))

  def test_padding_before_texts_of_different_length_is_not_seen(self):
    inputs = random_inputs()
    padding_B = jnp.array([4, 0])
    out, cache = decoded(inputs, (6, 1, 6), 13, padding_B=padding_B)
    segments_BS = jnp.where(jnp.arange(13) < padding_B[:, None], -1, 0)
    expected = whole(inputs, segments_BS=segments_BS)
    chex.assert_trees_all_close(out, expected, atol=1e-5)
    self.assertEqual(jnp.abs(out[0, :4]).max(), 0)
    self.assertEqual(decode.segments(cache, 2).tolist(), [[0, 0], [0, 0]])

  def test_decays_stay_exact_far_into_a_text(self):
    inputs = random_inputs()
    cache = decode.init(2, 13, 4, 2, 8)
    # As if the gates had summed to -1e6 so far; float32 has steps of 1/16
    far = cache._replace(high=cache.high - 1e6)
    near, _ = extended(cache, inputs, (9, 1, 3))
    out, _ = extended(far, inputs, (9, 1, 3))
    chex.assert_trees_all_close(out, near, atol=2e-6)

  def test_a_step_is_one_program_whatever_the_length(self):
    inputs = random_inputs()
    step = jax.jit(chex.assert_max_traces(decode.extend, n=1))
    cache = decode.init(2, 3, 4, 2, 8)
    for t in range(5):
      _, cache = step(cache, *(x[:, t : t + 1] for x in inputs))
    self.assertEqual(int(cache.length), 5)

  def test_a_constant_gate_forgets_at_the_bound(self):
    *qkv, log_f_BTH = random_inputs()
    log_f_BTH = jnp.broadcast_to(jnp.array([-1.0, -2.0, -9.0, 0.0]), (2, 13, 4))
    _, cache = decoded((*qkv, log_f_BTH), (13,), 13)
    # delta = -10 - log(100) - 2 U = -18.6, and the newest key has decay 0.
    counts_BH = decode.live(cache, 2.0, max_length=100)
    self.assertEqual(counts_BH.tolist(), [[13, 10, 3, 13]] * 2)
    per_head = decode.live(cache, jnp.array([0, 0, 0, 0.0]), max_length=100)
    self.assertEqual(per_head.tolist(), [[13, 8, 2, 13]] * 2)

  def test_evicting_what_is_forgotten_changes_nothing(self):
    inputs = random_inputs(T=60, gate=-1.0)
    first, rest = (tuple(x[:, s] for x in inputs) for s in SPLIT)
    _, cache = decoded(first, (40,), 60)
    bound = (
      8**-0.5 * max(jnp.linalg.norm(x, axis=-1).max() for x in inputs[:2]) ** 2
    )
    needed = int(decode.live(cache, bound, max_length=60).max())
    self.assertLess(needed, 38)
    small = decode.resize(cache, needed + 20)
    chex.assert_shape(small.high, (2, 4, needed + 20))
    out, expected = (extended(x, rest, (1, 19))[0] for x in (small, cache))
    chex.assert_trees_all_close(out, expected, atol=4.5e-5)

  def test_resized_rings_go_on(self):
    inputs = random_inputs()
    first, rest = (
      tuple(x[:, s] for x in inputs) for s in (slice(6), slice(6, 13))
    )
    _, cache = decoded(first, (6,), 8)
    out, _ = extended(decode.resize(cache, 30), rest, (3, 1, 3))
    chex.assert_trees_all_close(out, whole(inputs)[:, 6:], atol=1e-5)
    # What was evicted is not seen in slots that are added later.
    regrown = decode.resize(decode.resize(cache, 2), 30)
    out, _ = extended(regrown, rest, (3, 1, 3))
    newest = tuple(x[:, 4:] for x in inputs)
    chex.assert_trees_all_close(out, whole(newest)[:, 2:], atol=1e-5)
    self.assertLessEqual(int(decode.live(regrown, 0.0, max_length=9).max()), 2)

  def test_wrong_values_are_named(self):
    q, k, v, log_f = random_inputs(T=2)
    with self.assertRaisesRegex(ValueError, "slots=0 is not at least 1"):
      decode.init(2, 0, 4, 2, 8)
    cache = decode.init(2, 3, 4, 2, 8)
    with self.assertRaisesRegex(ValueError, "slots=0 is not at least 1"):
      decode.resize(cache, 0)
    with self.assertRaisesRegex(ValueError, r"padding_B.shape=\(3,\) is not"):
      decode.init(2, 3, 4, 2, 8, padding_B=jnp.zeros(3, int))
    with self.assertRaisesRegex(ValueError, "cache.k=.*'bfloat16'"):
      decode.extend(
        decode.init(2, 3, 4, 2, 8, dtype="bfloat16"), q, k, v, log_f
      )
    message = r"cache.k.shape=\(1, 2, 3, 8\) is not \(2, 2, 3, 8\)"
    with self.assertRaisesRegex(ValueError, message):
      decode.extend(decode.init(1, 3, 4, 2, 8), q, k, v, log_f)
    message = r"cache.high.shape=\(2, 2, 3\) is not \(2, 4, 3\)"
    with self.assertRaisesRegex(ValueError, message):
      decode.extend(decode.init(2, 3, 2, 2, 8), q, k, v, log_f)
    with self.assertRaisesRegex(ValueError, r"log_f_BTH.shape=\(2, 2, 2\) is"):
      decode.extend(cache, q, k, v, log_f[..., :2])


SPLIT = slice(40), slice(40, 60)


if __name__ == "__main__":
  absltest.main()
