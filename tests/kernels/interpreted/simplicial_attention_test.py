"""Numerics of the Triton kernels of 2-simplicial attention, without a GPU.

These need a process of their own, since triton reads TRITON_INTERPRET when it
is imported: `make interpreted`.
"""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.kernels.simplicial_attention import (
  api,
  gpu_triton,
  sizes,
  tiles,
)
from tests.kernels import conformance
from tests.kernels.interpreted import interpreter

SMALL = sizes.Sizes(rows=16, keys=16, warps=4, stages=1)
MORE_ROWS = SMALL._replace(rows=64)
# Relative L2 errors of outputs and of gradients.
TOLERANCES = {
  "float32": (2e-6, 1e-5),
  "bfloat16": (1e-2, 2e-2),
  "float16": (2e-3, 4e-3),
}
PACKED = (0, 0, 0, 1, 2, 2, 2, 2, 2, 3, 3)
# Segments of rows that see nothing are those of other keys alone.
CASES = (
  dict(testcase_name="all_of_the_past"),
  dict(testcase_name="full", causal=False),
  dict(testcase_name="self_only", windows=(1, 1)),
  dict(testcase_name="one_and_more", windows=(1, 6)),
  dict(testcase_name="equal_windows", windows=(4, 4)),
  dict(testcase_name="long_window_first", windows=(7, 2)),
  dict(testcase_name="around", windows=(3, 6), causal=False),
  dict(testcase_name="whole_long_window", windows=(3, None), T=35, H=1),
  dict(testcase_name="whole_tiles", windows=(2, 40), T=50, H=1),
  dict(
    testcase_name="whole_tiles_around", windows=(2, 60), T=40, H=1, causal=False
  ),
  dict(testcase_name="more_keys", T=5, S=21, windows=(3, 9)),
  dict(testcase_name="one_query", T=1, S=21, windows=(3, None)),
  dict(testcase_name="multi_head", G=2, windows=(3, 7)),
  dict(testcase_name="multi_head_blocks", H=1, windows=(20, 30), T=23),
  dict(testcase_name="three_heads_a_key", H=3, G=1, windows=(2, 3), T=4),
  dict(testcase_name="six_heads_a_key", H=6, G=1, windows=(2, 3), T=3),
  dict(testcase_name="eight_heads_a_key", H=16, G=2, windows=(2, 3), T=4),
  dict(testcase_name="heads_fill_a_tile", H=16, G=1, windows=(3, 5), T=5),
  dict(testcase_name="heads_fill_tiles", H=32, G=1, windows=(2, 3), T=3),
  dict(
    testcase_name="many_heads", size=MORE_ROWS, H=64, G=1, windows=(2, 3), T=3
  ),
  dict(testcase_name="many_rows", size=MORE_ROWS, windows=(5, 7), T=13, G=2),
  dict(testcase_name="batch", B=2, T=6, H=4, G=2, windows=(2, 4)),
  dict(testcase_name="determinant", form="determinant", windows=(2, 5)),
  dict(testcase_name="determinant_turned", form="determinant", windows=(5, 2)),
  dict(
    testcase_name="determinant_whole",
    form="determinant",
    D=24,
    T=5,
    windows=(2, 4),
  ),
  dict(testcase_name="rotary", form="rotary", windows=(2, 5)),
  dict(
    testcase_name="rotary_heads", windows=(2, 3), form="rotary", H=16, G=1, T=5
  ),
  dict(testcase_name="strassen", form="strassen", windows=(2, 5)),
  dict(
    testcase_name="strassen_heads",
    windows=(2, 3),
    form="strassen",
    H=16,
    G=1,
    T=5,
  ),
  dict(testcase_name="strassen_full", form="strassen", causal=False, T=7),
  dict(testcase_name="scaled", scale=0.7, windows=(2, 5)),
  dict(testcase_name="negative_scale", scale=-0.3, windows=(2, 5)),
  dict(testcase_name="negative_strassen", scale=-0.3, form="strassen", T=7),
  dict(testcase_name="concentrated", scale=8.0, windows=(3, 7)),
  dict(testcase_name="segments", segments=PACKED, windows=(3, 7)),
  dict(testcase_name="segments_full", segments=PACKED, causal=False),
  dict(
    testcase_name="segments_heads", segments=PACKED, H=16, T=5, windows=(3, 4)
  ),
  dict(testcase_name="two_channels", D=2, windows=(2, 5)),
  dict(testcase_name="wide", D=64, windows=(2, 5), T=7),
  dict(testcase_name="wider", D=100, windows=(2, 5), T=5),
  dict(testcase_name="widest", D=256, windows=(2, 4), T=5),
  dict(
    testcase_name="wide_terms", D=128, form="rotary", T=3, H=16, windows=(2, 3)
  ),
  dict(testcase_name="bfloat16", dtype="bfloat16", windows=(3, 7)),
  dict(testcase_name="bfloat16_rotary", dtype="bfloat16", form="rotary", T=6),
  dict(
    testcase_name="bfloat16_strassen", dtype="bfloat16", form="strassen", T=6
  ),
  dict(
    testcase_name="bfloat16_heads", dtype="bfloat16", H=16, T=4, windows=(2, 3)
  ),
  dict(
    testcase_name="bfloat16_concentrated",
    dtype="bfloat16",
    scale=2.0,
    windows=(3, 7),
  ),
  dict(testcase_name="float16", dtype="float16", windows=(3, 7)),
)


def random_inputs(B=1, T=9, S=None, H=2, G=1, D=16, dtype="float32"):
  S = S or T
  shapes = ((B, T, H, D), *[(B, S, G, D)] * 4)
  normal = np.random.default_rng(0).standard_normal
  return [jnp.asarray(normal(shape), dtype) for shape in shapes]


def op(implementation, **settings):
  return functools.partial(
    api.simplicial_attention_with_lse, implementation=implementation, **settings
  )


class SimplicialAttentionTest(interpreter.InterpretedTest):
  MODULE = gpu_triton

  def setUp(self):
    super().setUp()
    self.use(SMALL)
    self.patch(ENOUGH_PROGRAMS=1)

  def assert_near_reference(self, arrays, **settings):
    """Compares outputs and gradients, on average over an array."""
    dtype = str(arrays[0].dtype)
    segments_BS = settings.pop("segments_BS", None)
    run = lambda name, *xs: interpreter.values_and_grads(
      op(name, segments_BS=segments_BS, **settings), *xs, dtype=dtype
    )
    got = run("gpu_triton", *arrays)
    outs, grads = run("reference", *(x.astype(jnp.float32) for x in arrays))
    names = ("out", "lse", "q", "k1", "v1", "k2", "v2")
    limits = (TOLERANCES[dtype][0],) * 2 + (TOLERANCES[dtype][1],) * 5
    for name, x, y, limit in zip(
      names, (*got[0], *got[1]), (*outs, *grads), limits, strict=True
    ):
      self.assertEqual(x.shape, y.shape)
      self.assertTrue(np.isfinite(x).all(), name)
      self.assertLess(interpreter.relative_error(x, y), limit, name)
    return got

  @parameterized.named_parameters(*CASES)
  def test_kernels_match_reference(self, size=SMALL, segments=None, **case):
    self.use(size)
    names = ("B", "T", "S", "H", "G", "D", "dtype")
    inputs = {name: case.pop(name) for name in names if name in case}
    arrays = random_inputs(**inputs)
    if segments is not None:
      S = arrays[1].shape[1]
      case["segments_BS"] = jnp.array(segments[-S:])[None]
    self.assert_near_reference(arrays, **case)
    ran = [name for name, _ in self.calls]
    self.assertEqual(ran, ["forward", "backward_q", "backward_kv"])

  def test_rows_that_see_nothing_are_zero(self):
    q, *keys = random_inputs(T=6)
    segments = (
      jnp.array([[0, 0, 1, 1, 2, 5]]),
      jnp.array([[0, 0, 2, 2, 2, 2]]),
    )
    run = lambda *xs: api.attend(
      *xs,
      segments[0],
      segments[1],
      segments[1],
      spans=((2, 0), (4, 0)),
      form="trilinear",
      scale=None,
      implementation="gpu_triton",
    )
    (out, lse), grads = interpreter.values_and_grads(run, q, *keys)
    self.assertFalse(out[:, (2, 3, 5)].any())
    self.assertTrue((lse[:, (2, 3, 5)] == -jnp.inf).all())
    self.assertTrue(np.isfinite(lse[:, (0, 1, 4)]).all())
    chex.assert_tree_all_finite(grads)
    self.assertFalse(grads[0][:, (2, 3, 5)].any())

  def test_axes_of_different_lengths_are_aligned_at_their_ends(self):
    q, k1, v1, k2, v2 = random_inputs(T=7, S=19)
    run = lambda name: interpreter.values_and_grads(
      lambda *xs: api.attend(
        *xs,
        None,
        None,
        None,
        spans=((2, 0), (8, 1)),
        form="trilinear",
        scale=None,
        implementation=name,
      ),
      *(q, k1[:, 8:], v1[:, 8:], k2, v2),
    )
    got, exact = run("gpu_triton"), run("reference")
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(exact), strict=True):
      self.assertLess(interpreter.relative_error(x, y), 1e-5)

  def test_one_visible_pair_has_no_score_gradients(self):
    # Small integers, so that no sum is rounded.
    arrays = [jnp.round(2 * x) for x in random_inputs(T=5)]
    fn = lambda *xs: op("gpu_triton", windows=(1, 1))(*xs)[0]
    _, vjp = jax.vjp(fn, *arrays)
    d_q, d_k1, d_v1, d_k2, _ = vjp(jnp.ones(arrays[0].shape))
    for d_x in (d_q, d_k1, d_k2):
      chex.assert_trees_all_equal(d_x, jnp.zeros_like(d_x))
    self.assertGreater(jnp.abs(d_v1).max(), 1)

  def test_a_scale_of_zero_is_a_mean(self):
    arrays = random_inputs(T=6)
    self.assert_near_reference(arrays, scale=0.0)

  @parameterized.parameters(
    dict(T=1, S=40, H=16, G=1, windows=(3, None)),
    dict(T=5, S=40, H=2, G=1, windows=(20, None)),
    dict(T=5, S=40, H=16, G=1, windows=(3, 30), causal=False),
  )
  def test_programs_share_the_work_of_a_small_grid(self, windows, **case):
    causal = case.pop("causal", True)
    self.patch(ENOUGH_PROGRAMS=20)
    self.assert_near_reference(
      random_inputs(**case), windows=windows, causal=causal
    )
    parts = {name: c.PARTS1 * c.PARTS2 for name, c in self.calls}
    self.assertGreater(parts["forward"], 2)
    self.assertEqual(parts["backward_kv"] > 1, case["T"] > 1)

  @parameterized.parameters(
    dict(windows=(3, 5), T=15, limit=4000),
    dict(windows=(None, None), T=9, limit=9000),
    dict(windows=(2, 5), T=9, S=15, limit=1, form="rotary"),
    dict(windows=(2, 5), T=13, limit=1, causal=False),
  )
  def test_chunks_of_queries_bound_the_memory(self, limit, T, S=None, **case):
    self.patch(ADDEND_BYTES=limit)
    self.assert_near_reference(random_inputs(T=T, S=S), **case)
    ran = [name for name, _ in self.calls]
    self.assertGreater(ran.count("backward_q"), 1)

  def test_equal_calls_give_equal_bits(self):
    self.patch(ENOUGH_PROGRAMS=20)
    arrays = random_inputs(dtype="bfloat16")
    fn = op("gpu_triton", windows=(3, 7))
    chex.assert_trees_all_equal(
      interpreter.values_and_grads(fn, *arrays),
      interpreter.values_and_grads(fn, *arrays),
    )

  def test_transformations_change_nothing(self):
    fn = lambda *xs: op("gpu_triton", windows=(2, 3))(*xs)[0]
    conformance.assert_transformable(fn, *random_inputs(T=3, H=1, G=1))

  @parameterized.parameters("writes_before", "writes_after", "reads_after")
  def test_what_is_outside_of_an_array_cannot_be_accessed(self, name):
    from tests.kernels.interpreted import wrong_kernels

    with self.assertRaisesRegex(Exception, "accessed what is not its own"):
      self.run_kernel(getattr(wrong_kernels, name))

  def run_kernel(self, kernel):
    from simplex.kernels import triton_call

    shape = jax.ShapeDtypeStruct((16,), jnp.float32)
    (out,) = triton_call.call(
      kernel,
      jnp.ones(16),
      out_shape=[shape],
      programs=1,
      num_warps=1,
      num_stages=1,
      c=None,
    )
    return jax.block_until_ready(out)


class PackingTest(parameterized.TestCase):
  """How rows are made; needs no triton."""

  @parameterized.parameters(
    (64, 64, 32, dict(NS=1, NQ=1, NH=64)),
    (64, 128, 32, dict(NS=1, NQ=1, NH=64)),
    (64, 8, 32, dict(NS=8, NQ=1, NH=8)),
    (64, 1, 32, dict(NS=32, NQ=2, NH=1)),
    (64, 1, 1, dict(NS=1, NQ=64, NH=1)),
    (64, 12, 32, dict(NS=16, NQ=1, NH=4)),
  )
  def test_any_number_of_heads_fills_a_tile(self, rows, heads, w1, expected):
    self.assertEqual(tiles.packing(rows, heads, w1, T=4096), expected)

  def test_a_few_queries_leave_room_for_short_keys(self):
    expected = dict(NS=64, NQ=1, NH=1)
    self.assertEqual(tiles.packing(64, 1, 4, T=1), expected)


if __name__ == "__main__":
  absltest.main()
