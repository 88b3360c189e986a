"""Tests for simplex/kernels/simplicial_attention/tpu_pallas.py.

There is no TPU: kernels are interpreted.
"""

import functools
import itertools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex import kernels
from simplex.kernels.simplicial_attention import (
  api,
  tpu_blocks,
  tpu_layout,
  tpu_pallas,
)
from tests.kernels import conformance, tpu_interpreter

# So small that few positions make several blocks of several tiles.
SMALL = mock.patch.dict(
  vars(tpu_blocks),
  ROW_TILE=8,
  PRODUCT_ROWS=16,
  SHORT_TILE=2,
  LONG_TILE=4,
  ROW_BLOCK=16,
  SHORT_BLOCK=4,
  MOST_SHORT_BLOCK=4,
  LONG_BLOCK=8,
  ROW_MULTIPLE=4,
)
CASES = (
  dict(testcase_name="grouped", windows=(3, 9)),
  dict(testcase_name="one_and_window", windows=(1, 7), H=3, G=1, D=24),
  dict(testcase_name="all_past", T=6, S=11, G=1, form="rotary"),
  dict(testcase_name="long_first", windows=(9, 4), form="determinant", D=17),
  dict(testcase_name="sum", windows=(6, 4), form="strassen", causal=False),
  dict(testcase_name="full", causal=False, T=9, S=9, G=4),
  dict(testcase_name="segments", windows=(None, 7), segments=True),
  dict(testcase_name="few_last_queries", windows=(3, 8), T=2, S=23, scale=2.0),
  dict(
    testcase_name="wide_and_equal",
    windows=(4, 4),
    T=7,
    S=7,
    D=256,
    form="determinant",
  ),
)


def random_inputs(B=1, T=15, S=15, R=None, H=4, G=2, D=16, dtype="float32"):
  keys = jax.random.split(jax.random.key(0), 5)
  S, R = (B, S, G, D), (B, R or S, G, D)
  pairs = zip(keys, ((B, T, H, D), S, S, R, R), strict=True)
  return [jax.random.normal(*pair).astype(dtype) for pair in pairs]


def op(implementation, **settings):
  return functools.partial(
    kernels.simplicial_attention_with_lse,
    implementation=implementation,
    **settings,
  )


def attend(implementation, segments, **settings):
  settings = dict(form="trilinear", scale=None) | settings
  return lambda *xs: api.attend(
    *xs, *segments, implementation=implementation, **settings
  )


def value_and_grads(op, *arrays, d_lse=1.0):
  """Output, lse and the five gradients of fixed projections of both."""
  (out, lse), vjp = jax.vjp(op, *arrays)
  d_out = jax.random.normal(jax.random.key(9), out.shape).astype(out.dtype)
  d_lse = d_lse * jax.random.normal(jax.random.key(8), lse.shape)
  return (out, lse), vjp((d_out, d_lse))


def results_of(op, inputs, **settings):
  fn = lambda *xs: value_and_grads(op, *xs, **settings)
  return tpu_interpreter.compiled(fn)(*inputs)


class TpuPallasTest(chex.TestCase):
  def assert_near(self, results, exact, *, out=2e-6, grads=1e-5):
    names = ("out", "lse", "q", "k1", "v1", "k2", "v2")
    limits = (out, out, *[grads] * 5)
    leaves = zip(*map(jax.tree.leaves, (results, exact)), strict=True)
    for name, limit, (x, y) in zip(names, limits, leaves, strict=False):
      self.assertLess(tpu_interpreter.error(x, y), limit, name)

  @parameterized.named_parameters(*CASES)
  def test_value_and_gradients_match_reference(
    self, T=15, S=15, H=4, G=2, D=16, segments=False, **settings
  ):
    inputs = random_inputs(T=T, S=S, H=H, G=G, D=D)
    if segments:
      settings["segments_BS"] = (jnp.arange(S) // 4)[None]
    exact = results_of(op("reference", **settings), inputs)
    with tpu_interpreter.as_arrays(SMALL):
      results = results_of(op("tpu_pallas", **settings), inputs)
    self.assert_near(results, exact)

  @parameterized.parameters(
    dict(H=8, G=1, D=128, spans=((12, 0), (149, 0))),
    dict(H=3, G=3, D=24, spans=((39, 0), (149, 0)), form="strassen"),
  )
  def test_bfloat16_in_real_blocks(self, H, G, D, **settings):
    inputs = random_inputs(T=30, S=40, R=150, H=H, G=G, D=D, dtype="bfloat16")
    none = (None, None, None)
    inputs32 = [x.astype(jnp.float32) for x in inputs]
    exact = results_of(attend("reference", none, **settings), inputs32)
    with tpu_interpreter.as_arrays():
      results = results_of(attend("tpu_pallas", none, **settings), inputs)
    self.assertEqual(results[0][0].dtype, jnp.bfloat16)
    self.assert_near(results, exact, out=1e-2, grads=2e-2)

  def test_rows_that_see_nothing_give_zero(self):
    """The first rows are before both axes; others have no key's segment."""
    T, S, R = 13, 9, 11
    inputs = random_inputs(T=T, S=S, R=R)
    segments = [jnp.arange(n)[None] // 5 for n in (T, S, R)]
    settings = dict(spans=((3, 0), (6, 1)))
    exact = results_of(attend("reference", segments, **settings), inputs)
    with tpu_interpreter.as_arrays(SMALL):
      results = results_of(attend("tpu_pallas", segments, **settings), inputs)
    self.assert_near(results, exact)
    (out, lse), (d_q, *_) = results
    unseen = np.isneginf(lse)[0, :, 0]
    self.assertGreater(unseen.sum(), 3)
    self.assertLess(unseen.sum(), T)
    self.assertFalse(np.any(out[0, unseen]) or np.any(d_q[0, unseen]))

  def test_one_visible_pair_has_no_score_gradients(self):
    """Up to the rounding of delta, which is not that of the kernel's dP."""
    inputs = random_inputs(T=5, S=5, G=4)
    exact = results_of(op("reference", windows=(1, 1)), inputs, d_lse=0.0)
    with tpu_interpreter.as_arrays(SMALL):
      results = results_of(op("tpu_pallas", windows=(1, 1)), inputs, d_lse=0.0)
    self.assert_near(results[0], exact[0])
    _, (d_q, d_k1, d_v1, d_k2, d_v2) = results
    self.assertLess(tpu_interpreter.error(d_v1, exact[1][2]), 1e-5)
    self.assertLess(tpu_interpreter.error(d_v2, exact[1][4]), 1e-5)
    for x in (d_q, d_k1, d_k2):
      self.assertLess(np.abs(x).max(), 1e-6 * np.abs(d_v1).max())

  def test_a_concentrated_softmax_stays_exact(self):
    q, *keys = random_inputs(T=9, S=9)
    exact = results_of(op("reference", windows=(None, 6)), (30 * q, *keys))
    with tpu_interpreter.as_arrays(SMALL):
      fn = op("tpu_pallas", windows=(None, 6))
      results = results_of(fn, (30 * q, *keys))
      self.assert_near(results, exact, out=2e-5, grads=1e-4)
      chex.assert_tree_all_finite(results_of(fn, (1e6 * q, *keys)))

  def test_transformations_change_nothing(self):
    with tpu_interpreter.as_arrays():
      conformance.assert_transformable(
        op("tpu_pallas", windows=(3, 5)), *random_inputs(T=7, S=7)
      )

  def test_two_cores_do_not_race(self):
    """Nor read what was not written, of which there is some in d_q."""
    settings = dict(windows=(6, 6))
    inputs = random_inputs(T=9, S=9, H=2, G=1)
    exact = results_of(op("reference", **settings), inputs)
    with tpu_interpreter.as_tpu(SMALL):
      results = []
      fn = op("tpu_pallas", **settings)
      keep = lambda *xs: results.append(value_and_grads(fn, *xs))
      self.assertFalse(tpu_interpreter.races(keep, *inputs))
    self.assert_near(results[0], exact)

  def test_a_sum_split_over_cores_is_a_race(self):
    """What the test above relies on."""
    all_parallel = mock.patch.object(tpu_pallas, "SEMANTICS", ("parallel",) * 4)
    with tpu_interpreter.as_tpu(SMALL), all_parallel:
      fn = op("tpu_pallas", windows=(None, None))
      self.assertTrue(tpu_interpreter.races(fn, *random_inputs(T=4, S=9, G=1)))

  @parameterized.parameters("float32", "bfloat16")
  def test_lowers_for_tpu(self, dtype):
    """One kernel forward and two backward, also of a mapped axis."""
    inputs = random_inputs(T=40, S=40, H=6, D=40, dtype=dtype)
    segments_BS = jnp.zeros((1, 40), jnp.int32)

    def lower(fn):
      with tpu_interpreter.on_tpu():
        traced = jax.jit(jax.vmap(fn)).trace(*[x[None] for x in inputs])
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
      return text.count("@tpu_custom_call")

    for form in ("determinant", "strassen"):
      fn = op("tpu_pallas", form=form, segments_BS=segments_BS)
      self.assertEqual(lower(fn), 1)
      self.assertEqual(lower(lambda *xs, fn=fn: value_and_grads(fn, *xs)), 3)

  def test_products_are_as_exact_as_their_type(self):
    """On a CPU float32 is exact whatever is asked for."""
    for dtype, name in (("float32", "HIGHEST"), ("bfloat16", "DEFAULT")):
      fn = lambda *xs: value_and_grads(op("tpu_pallas"), *xs)
      asked = tpu_interpreter.precisions(fn, *random_inputs(dtype=dtype))
      self.assertEqual(asked, [name] * 10)

  def test_says_what_it_cannot_do(self):
    fn = op("tpu_pallas")
    with self.assertRaisesRegex(NotImplementedError, "needs a TPU.*'cpu'"):
      fn(*random_inputs())
    with tpu_interpreter.on_tpu():
      with self.assertRaisesRegex(NotImplementedError, "got float16"):
        fn(*random_inputs(dtype="float16"))
      with self.assertRaisesRegex(NotImplementedError, "D=256, got D=257"):
        fn(*random_inputs(D=257))


class TpuBlocksTest(parameterized.TestCase):
  @parameterized.product(
    heads=(1, 3),
    lengths=((11, 11), (5, 14), (14, 9)),
    spans=(((0, 0), (0, 0)), ((2, 0), (6, 0)), ((4, 3), (5, 11))),
  )
  def test_each_visible_triple_of_blocks_is_visited_once(
    self, heads, lengths, spans
  ):
    plan = small_plan(11, heads, lengths, spans)
    wanted = visible_blocks(plan)
    for owner in ("rows", "short", "long"):
      met = {}
      for ids in itertools.product(*map(range, tpu_blocks.grid(plan, owner))):
        here = tpu_blocks.visit(plan, owner, ids)
        held = tpu_blocks.visit(plan, owner, ids, inside=True)
        met[here] = met.get(here, 0) + 1
        if here in wanted:
          self.assertEqual(here, held)
        for axis, block in held._asdict().items():
          length, size = tpu_blocks.sizes(plan, axis)
          self.assertBetween(block * size, 0, length - 1)
      self.assertEqual({met.get(visit) for visit in wanted}, {1}, owner)

  def test_the_parts_of_d_q_are_those_written(self):
    for lengths, spans in (((5, 9), ((1, 0), (3, 0))), ((9, 9), ((5, 2),) * 2)):
      plan = small_plan(9, 2, lengths, spans)
      written = np.zeros_like(tpu_blocks.parts(plan))
      index = tpu_layout.spec(plan, "short", "parts", 128).index_map
      for ids in itertools.product(*map(range, tpu_blocks.grid(plan, "short"))):
        _, part, rows, _ = index(0, *ids)
        written[part, rows] = True
      np.testing.assert_array_equal(tpu_blocks.parts(plan), written)

  def test_blocks_of_large_calls_fit_in_memory(self):
    for width, terms, itemsize in itertools.product((128, 256), (1, 2), (2, 4)):
      plan = tpu_blocks.make_plan(
        8192, 8, (8192, 8192), ((8191, 0),) * 2, width, terms, itemsize
      )
      short = plan.short.block * width * (terms + 1) * 4 * 2 * 2
      self.assertLess(short, tpu_blocks.VMEM_BUDGET)
      self.assertGreaterEqual(plan.short.block, tpu_blocks.SHORT_BLOCK)


def small_plan(T, heads, lengths, spans):
  lengths = [
    min(S, T + span[0]) for S, span in zip(lengths, spans, strict=True)
  ]
  with SMALL:
    return tpu_blocks.make_plan(T, heads, lengths, spans, 128, 1, 4)


def visible_blocks(plan):
  """By looking at every pair of a row and a key."""
  row = np.arange(plan.rows)[:, None]

  def blocks(axis):
    key = np.arange(axis.length)
    age = row // plan.heads + axis.offset - key
    pairs = np.argwhere((age <= axis.before) & (age >= -axis.after))
    return {(x // plan.block, s // axis.block) for x, s in pairs}

  short, long = blocks(plan.short), blocks(plan.long)
  return {
    tpu_blocks.Visit(x, s, r) for x, s in short for y, r in long if x == y
  }


if __name__ == "__main__":
  absltest.main()
