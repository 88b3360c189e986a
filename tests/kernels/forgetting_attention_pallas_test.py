"""Tests for simplex/kernels/forgetting_attention/tpu_pallas.py.

There is no TPU: kernels are interpreted.
"""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex import kernels
from simplex.kernels.forgetting_attention import (
  pruning,
  tpu_layout,
  tpu_pallas,
)
from tests.kernels import tpu_interpreter

# So small that few positions make several blocks.
SMALL = mock.patch.object(tpu_layout, "BLOCK", 4)
# Segment 3 goes on after another one; negative ones are padding.
PACKED = (-1, -1, 3, 3, 3, 0, 0, 0, -7, -7, -7, -7, 3)
CASES = (
  dict(testcase_name="grouped", T=9, S=14),
  dict(testcase_name="window", window=6, T=13, S=13, H=3, G=1, D=24),
  dict(testcase_name="few_queries", window=9, T=2, S=11, D=256, scale=0.5),
)


def random_inputs(T=13, S=13, H=4, G=2, D=16, dtype="float32", mean=2.0):
  q_key, k_key, v_key, f_key = jax.random.split(jax.random.key(0), 4)
  q_BTHD, k_BSGD, v_BSGD = (
    jax.random.normal(key, (1, *shape)).astype(dtype)
    for key, shape in (
      (q_key, (T, H, D)),
      (k_key, (S, G, D)),
      (v_key, (S, G, D)),
    )
  )
  logits_BSH = mean + jax.random.normal(f_key, (1, S, H))
  return [q_BTHD, k_BSGD, v_BSGD, jax.nn.log_sigmoid(logits_BSH)]


def op(implementation, *, segments=None, **settings):
  if segments is not None:
    settings["segments_BS"] = jnp.asarray(segments)[None]
  return functools.partial(
    kernels.forgetting_attention_with_statistics,
    implementation=implementation,
    **settings,
  )


def value_and_grads(op, *arrays):
  """Statistics, and gradients of fixed projections of output and lse."""
  value, vjp = jax.vjp(op, *arrays)
  random = lambda i, x: jax.random.normal(jax.random.key(i), x.shape)
  d_out = random(8, value.out_BTHD).astype(value.out_BTHD.dtype)
  d_lse = random(9, value.lse_BTH)
  return value, vjp(type(value)(d_out, d_lse, jnp.ones_like(value.skipped_BH)))


def results_of(op, inputs):
  fn = lambda *xs: value_and_grads(op, *xs)
  return tpu_interpreter.compiled(fn)(*inputs)


def lowered(fn, *inputs):
  with tpu_interpreter.on_tpu():
    traced = jax.jit(fn).trace(*inputs)
    return traced.lower(lowering_platforms=("tpu",)).as_text()


class TpuPallasTest(chex.TestCase):
  def assert_near(self, results, exact, *, out=2e-6, grads=1e-5):
    (value, d_inputs), (exact_value, exact_d_inputs) = results, exact
    pairs = dict(out=(value.out_BTHD, exact_value.out_BTHD))
    pairs["lse"] = value.lse_BTH, exact_value.lse_BTH
    for name, (x, y) in pairs.items():
      self.assertLess(tpu_interpreter.error(x, y), out, name)
    for name, x, y in zip("qkvf", d_inputs, exact_d_inputs, strict=True):
      self.assertLess(tpu_interpreter.error(x, y), grads, name)

  @parameterized.named_parameters(*CASES)
  def test_value_and_gradients_match_reference(
    self, T, S, H=4, G=2, D=16, **settings
  ):
    inputs = random_inputs(T=T, S=S, H=H, G=G, D=D)
    exact = results_of(op("reference", **settings), inputs)
    with tpu_interpreter.as_arrays(SMALL):
      results = results_of(op("tpu_pallas", **settings), inputs)
    self.assert_near(results, exact)
    self.assertFalse(results[0].skipped_BH.any())

  def test_only_equal_segments_meet(self):
    """Rows that see nothing give zeros."""
    inputs = random_inputs(T=13, S=13, H=2, G=1)
    exact = results_of(op("reference", segments=PACKED), inputs)
    with tpu_interpreter.as_arrays(SMALL):
      results = results_of(op("tpu_pallas", segments=PACKED), inputs)
    self.assert_near(results, exact)
    value, (d_q, _, _, d_log_f) = results
    unseen_T = np.asarray(PACKED) < 0
    np.testing.assert_array_equal(np.isneginf(value.lse_BTH[0, :, 0]), unseen_T)
    for x in (value.out_BTHD, d_q, d_log_f):
      self.assertFalse(np.any(x[0, unseen_T]))

  def test_bfloat16_in_real_blocks(self):
    inputs = random_inputs(T=150, S=300, H=2, G=1, dtype="bfloat16")
    inputs32 = [x.astype(jnp.float32) for x in inputs]
    exact = results_of(op("reference"), inputs32)
    with tpu_interpreter.as_arrays():
      results = results_of(op("tpu_pallas"), inputs)
    self.assertEqual(results[0].out_BTHD.dtype, jnp.bfloat16)
    self.assert_near(results, exact, out=1e-2, grads=2e-2)

  def test_gates_that_were_closed_before_cost_no_precision(self):
    """Prefix sums are below -8e4, where float32 has steps of 8e-3."""
    *inputs, log_f_BSH = random_inputs(T=9, S=18, H=2)
    log_f_BSH = log_f_BSH.at[:, :10].set(-jnp.inf)
    exact = results_of(
      op("reference"), [x[:, -9:] for x in (*inputs, log_f_BSH)]
    )
    with tpu_interpreter.as_arrays(SMALL):
      results = results_of(op("tpu_pallas"), (*inputs, log_f_BSH))
    value, (d_q, *d_keys) = results
    self.assertFalse(any(x[:, :9].any() for x in d_keys))
    self.assert_near((value, (d_q, *(x[:, -9:] for x in d_keys))), exact)

  @parameterized.parameters("paper", -30.0)
  def test_what_is_left_out_was_forgotten(self, prune):
    inputs = random_inputs(T=21, S=29, H=2, mean=-2.0)
    inputs[0] /= 2
    exact = op("reference")(*inputs)
    with tpu_interpreter.as_arrays(SMALL):
      fn = op("tpu_pallas", prune=prune)
      value = tpu_interpreter.compiled(fn)(*inputs)
    self.assertGreater(value.skipped_BH.min(), 0.1)
    error = tpu_interpreter.error(value.out_BTHD, exact.out_BTHD)
    self.assertLess(error, np.exp(pruning.LOG_EPSILON))

  def test_online_waits_for_no_row_of_padding(self):
    """Nor for the rows that fill up the last block."""
    *inputs, log_f_BSH = random_inputs(T=21, S=21, H=1, G=1)
    log_f_BSH = log_f_BSH.at[:, 20].set(-100.0)
    segments = [0] * 4 + [-1] * 16 + [1]
    with tpu_interpreter.as_arrays(SMALL):
      fn = op("tpu_pallas", prune="online", segments=segments)
      value = tpu_interpreter.compiled(fn)(*inputs, log_f_BSH)
    visited, in_all = 6, 21
    np.testing.assert_allclose(value.skipped_BH, 1 - visited / in_all, 1e-6)

  def test_two_cores_do_not_race(self):
    """Nor read what was not copied, nor copy to what is being read.

    Walks of "online" stop while a block is on its way. What they left out, the
    gradients leave out.
    """
    inputs = random_inputs(T=9, S=17, H=2, G=1, mean=-2.0)
    exact = results_of(op("reference"), inputs)
    with tpu_interpreter.as_tpu(SMALL):
      results = []
      fn = op("tpu_pallas", prune="online")
      keep = lambda *xs: results.append(value_and_grads(fn, *xs))
      self.assertFalse(tpu_interpreter.races(keep, *inputs))
    self.assertGreater(results[0][0].skipped_BH.min(), 0.2)
    lost = np.exp(pruning.LOG_EPSILON)
    self.assert_near(results[0], exact, out=lost, grads=10 * lost)

  def test_heads_of_a_group_on_two_cores_are_a_race(self):
    """What the test above relies on."""
    split = mock.patch.object(tpu_pallas, "OWN_KEYS", ("parallel",) * 4)
    with tpu_interpreter.as_tpu(SMALL, split):
      fn = lambda *xs: value_and_grads(op("tpu_pallas"), *xs)
      inputs = random_inputs(T=1, S=1, H=2, G=1)
      self.assertTrue(tpu_interpreter.races(fn, *inputs))

  @parameterized.product(dtype=("float32", "bfloat16"), prune=(None, "online"))
  def test_lowers_for_tpu(self, dtype, prune):
    """One kernel forward and two backward, also of a mapped axis."""
    inputs = random_inputs(T=40, S=150, H=6, D=40, dtype=dtype)
    fn = op("tpu_pallas", prune=prune, segments=np.zeros(150, np.int32))
    mapped = [x[None] for x in inputs]
    text = lowered(jax.vmap(fn), *mapped)
    self.assertEqual(text.count("@tpu_custom_call"), 1)
    both = lambda *xs: value_and_grads(fn, *xs)
    text = lowered(jax.vmap(both), *mapped)
    self.assertEqual(text.count("@tpu_custom_call"), 3)

  def test_products_are_as_exact_as_their_type(self):
    """On a CPU float32 is exact whatever is asked for."""
    for dtype, name in (("float32", "HIGHEST"), ("bfloat16", "DEFAULT")):
      fn = lambda *xs: value_and_grads(op("tpu_pallas"), *xs)
      asked = tpu_interpreter.precisions(fn, *random_inputs(dtype=dtype))
      self.assertEqual(asked, [name] * 9)

  def test_says_what_it_cannot_do(self):
    fn = op("tpu_pallas")
    with self.assertRaisesRegex(NotImplementedError, "needs a TPU.*'cpu'"):
      fn(*random_inputs())
    with tpu_interpreter.on_tpu():
      with self.assertRaisesRegex(NotImplementedError, "D=256, got D=257"):
        fn(*random_inputs(D=257))


class VisitorsTest(chex.TestCase):
  def test_blocks_of_keys_know_all_who_visit_them(self):
    """First blocks need not ascend: "online" stops where it likes."""
    cfg = tpu_layout.Config(
      T=22, S=30, H=1, G=1, window=30, scale=1.0, block_q=4, block_k=8
    )
    last_M = np.asarray(tpu_layout.last_blocks(cfg))
    first_M = np.asarray([0, 1, 0, 2, 1, 2])
    self.assertTrue(np.all(first_M <= last_M))
    lists = np.asarray(tpu_layout.visitors(cfg, first_M[None, None]))
    self.assertEqual(lists.shape, (1, 1, 4, 1, 7))
    for n, (number, *blocks) in enumerate(lists[0, 0, :, 0].tolist()):
      wanted = [m for m in range(6) if first_M[m] <= n <= last_M[m]]
      self.assertEqual(blocks[:number], wanted)


if __name__ == "__main__":
  absltest.main()
