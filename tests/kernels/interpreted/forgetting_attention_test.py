"""Numerics of the Triton kernels of forgetting attention, without a GPU.

These need a process of their own, since triton reads TRITON_INTERPRET when it
is imported: `make interpreted`.
"""

import functools
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.kernels import backend
from simplex.kernels.forgetting_attention import (
  api,
  canonical,
  gpu_triton,
  pruning,
  reference,
  sizes,
  starts,
  tiles,
)
from tests.kernels import conformance
from tests.kernels.interpreted import interpreter

SMALL = sizes.Sizes(rows=16, keys=16, warps=4, stages=1)
# Blocks of each kernel, none a part of another's.
MIXED = {
  "forward": SMALL._replace(rows=32),
  "backward_q": SMALL._replace(keys=32),
  "backward_kv": SMALL._replace(keys=64, rows=16),
}
# Relative L2 errors of outputs and of gradients.
TOLERANCES = {
  "float32": (2e-6, 1e-5),
  "bfloat16": (1e-2, 2e-2),
  "float16": (2e-3, 4e-3),
}
PACKED = [0] * 20 + [1] * 3 + [3] * 37 + [-1] * 6
# Neither sorted nor each in one piece, with padding before.
MIXED_UP = [-1] * 18 + [5] * 20 + [2] * 16 + [5] * 3 + [2] * 3
CASES = (
  dict(testcase_name="causal", T=37),
  dict(testcase_name="whole_tiles", T=48, H=1),
  dict(testcase_name="more_keys", T=21, S=45),
  dict(testcase_name="one_query", T=1, S=35),
  dict(testcase_name="self_only", T=19, window=1),
  dict(testcase_name="window", T=29, S=50, window=25),
  dict(testcase_name="heads", B=2, T=18, H=4, G=2),
  dict(testcase_name="multi_head", T=17, H=2, G=2),
  dict(testcase_name="segments", T=60, S=66, H=1, segments=PACKED),
  dict(testcase_name="mixed_segments", T=60, segments=MIXED_UP),
  dict(
    testcase_name="segments_and_window", T=66, H=1, window=9, segments=PACKED
  ),
  dict(testcase_name="few_channels", T=18, D=5),
  dict(testcase_name="many_channels", T=9, D=256, H=1),
  dict(testcase_name="scaled", T=18, scale=-0.7),
  dict(testcase_name="scale_of_zero", T=18, scale=0.0),
  dict(testcase_name="concentrated", T=35, scale=4.0),
  dict(testcase_name="bfloat16", T=37, dtype="bfloat16"),
  dict(testcase_name="float16", T=37, dtype="float16"),
  dict(testcase_name="forgetful", T=66, gate=-2.0, prune="paper"),
  dict(testcase_name="threshold", T=66, S=80, gate=-2.0, prune=-50.0),
  dict(testcase_name="online", T=66, gate=-2.0, prune="online"),
  dict(
    testcase_name="online_in_a_window", T=80, H=1, window=50, prune="online"
  ),
  dict(
    testcase_name="online_segments",
    T=66,
    H=1,
    gate=-4.0,
    segments=PACKED,
    prune="online",
  ),
)


def random_inputs(B=1, T=33, S=None, H=2, G=1, D=16, gate=2.0, dtype="float32"):
  normal = np.random.default_rng(0).standard_normal
  key = (B, S or T, G, D)
  rows = [jnp.asarray(normal(x), dtype) for x in ((B, T, H, D), key, key)]
  logits = jnp.asarray(gate + normal((*key[:2], H)), jnp.float32)
  return [*rows, jax.nn.log_sigmoid(logits)]


def op(implementation, **settings):
  """The values and their normalisers."""
  fn = functools.partial(
    api.forgetting_attention_with_statistics,
    implementation=implementation,
    **settings,
  )
  return lambda *xs: fn(*xs)[:2]


def in_float64(fn, *arrays, dtype):
  with jax.enable_x64(True):
    wide = [np.asarray(x, np.float64) for x in arrays]
    return interpreter.values_and_grads(fn, *wide, dtype=dtype)


def dense(q, k, v, log_f, *, start_BHT):
  """The equation, of the keys from the first of each query."""
  heads = q.shape[2] // k.shape[2]
  k, v = (jnp.repeat(x, heads, axis=2) for x in (k, v))
  sums_BHS = jnp.cumsum(log_f, 1).swapaxes(1, 2)
  rows_T = k.shape[1] - q.shape[1] + jnp.arange(q.shape[1])
  logits = jnp.einsum("BTHD,BSHD->BHTS", q, k) * q.shape[-1] ** -0.5
  logits += sums_BHS[:, :, rows_T, None] - sums_BHS[:, :, None]
  keys_S = jnp.arange(k.shape[1])
  sees = (keys_S <= rows_T[:, None]) & (keys_S >= start_BHT[..., None])
  logits = jnp.where(sees, logits, -jnp.inf)
  out = jnp.einsum("BHTS,BSHD->BTHD", jax.nn.softmax(logits), v)
  return out, jax.nn.logsumexp(logits, -1).swapaxes(1, 2)


class ForgettingAttentionTest(interpreter.InterpretedTest):
  MODULE = gpu_triton

  def setUp(self):
    super().setUp()
    self.use(SMALL)

  def use_mixed_sizes(self):
    self.patch(BACKEND=gpu_triton.make(lambda case: MIXED[case.kernel]))

  def assert_near(self, got, exact, dtype="float32"):
    """Compares outputs and gradients, on average over an array."""
    names = ("out", "lse", "q", "k", "v", "log_f")
    limits = (TOLERANCES[dtype][0],) * 2 + (TOLERANCES[dtype][1],) * 4
    for name, x, y, limit in zip(
      names, (*got[0], *got[1]), (*exact[0], *exact[1]), limits, strict=True
    ):
      nothing = np.asarray(y == -np.inf)
      np.testing.assert_array_equal(np.asarray(x == -np.inf), nothing)
      x, y = (np.where(nothing, 0, np.asarray(z, np.float64)) for z in (x, y))
      self.assertTrue(np.isfinite(x).all(), name)
      self.assertLess(interpreter.relative_error(x, y), limit, name)

  @parameterized.named_parameters(*CASES)
  def test_kernels_match_the_reference_in_float64(self, **case):
    settings = {"window": None, "scale": None, "prune": None}
    settings |= {name: case.pop(name) for name in settings if name in case}
    segments_BS = case.pop("segments", None)
    if segments_BS is not None:
      segments_BS = jnp.array(segments_BS)[None]
    arrays = random_inputs(**case)
    dtype = str(arrays[0].dtype)
    run = op("gpu_triton", segments_BS=segments_BS, **settings)
    got = interpreter.values_and_grads(run, *arrays, dtype=dtype)
    S, D = arrays[1].shape[1], arrays[0].shape[-1]
    scale, window = settings["scale"], settings["window"]
    fn = lambda *xs: reference.forward(
      *xs,
      segments_BS,
      scale=D**-0.5 if scale is None else scale,
      window=window or S,
      prune=None,
    )[0][:2]
    self.assert_near(got, in_float64(fn, *arrays, dtype=dtype), dtype)
    ran = sorted(name for name, _ in self.calls)
    self.assertEqual(ran, ["backward_kv", "backward_q", "forward"])

  def run_pruned(self, arrays, window, prune):
    """Values and gradients, first keys, and the fraction left out.

    Without the checks of the public op, so that it may lose any weight.
    """
    static = dict(scale=arrays[0].shape[-1] ** -0.5, prune=prune)
    static["window"] = window
    (*_, skipped), (*_, start_BHT) = gpu_triton.BACKEND.forward(
      *arrays, None, **static
    )
    bound = backend.bind(gpu_triton.BACKEND, **static)
    fn = lambda *xs: bound(*xs, None)[:2]
    got = interpreter.values_and_grads(fn, *arrays)
    return got, start_BHT, skipped

  @parameterized.parameters(dict(prune=-2.0), dict(prune="online"))
  def test_both_directions_leave_out_the_same(self, prune):
    self.use_mixed_sizes()
    self.enterContext(mock.patch.object(pruning, "LOG_EPSILON", 9.0))
    arrays = random_inputs(T=90, S=100, gate=1.0)
    got, start_BHT, skipped_BH = self.run_pruned(arrays, 70, prune)
    self.assertGreater(float(skipped_BH.min()), 0.2)
    fn = functools.partial(dense, start_BHT=np.asarray(start_BHT))
    exact = in_float64(fn, *arrays, dtype="float32")
    self.assert_near(got, exact)
    # What was left out counts, so that leaving out something else would fail.
    fn = functools.partial(dense, start_BHT=np.zeros_like(start_BHT))
    whole = in_float64(fn, *arrays, dtype="float32")
    for x, y in zip(exact[1], whole[1], strict=True):
      self.assertGreater(interpreter.relative_error(x, y), 1e-3)

  def test_a_block_stops_where_all_of_its_rows_have_forgotten(self):
    self.enterContext(mock.patch.object(pruning, "LOG_EPSILON", -3.0))
    arrays = random_inputs(T=110, H=1, gate=0.5)
    _, start_BHT, skipped_BH = self.run_pruned(arrays, 110, "online")
    q_TD, k_SD, log_f_S = (
      np.asarray(x, np.float64)[0].reshape(110, -1)
      for x in (arrays[0], arrays[1], arrays[3])
    )
    firsts = [online_first(q_TD, k_SD, log_f_S[:, 0], m) for m in range(7)]
    np.testing.assert_array_equal(start_BHT[0, 0, ::16], 16 * np.array(firsts))
    visited = sum(m + 1 - first for m, first in enumerate(firsts))
    self.assertAlmostEqual(float(skipped_BH[0, 0]), 1 - visited / 28, places=6)

  def test_closed_gates_give_the_newest_value(self):
    q, k, v, log_f = random_inputs(T=20, H=1)
    run = jax.jit(op("gpu_triton"))
    out, _ = run(q, k, v, jnp.full_like(log_f, -jnp.inf))
    chex.assert_trees_all_close(out, v, atol=1e-6)

  def test_a_gate_that_is_almost_closed_takes_no_digits_of_the_others(self):
    *rows, log_f = random_inputs(T=40)
    log_f = log_f.at[:, ::7].set(-5e3)
    fn = lambda *xs: reference.forward(
      *xs, None, scale=0.25, window=40, prune=None
    )[0][:2]
    exact = in_float64(fn, *rows, log_f, dtype="float32")
    got = interpreter.values_and_grads(op("gpu_triton"), *rows, log_f)
    self.assert_near(got, exact)

  @parameterized.parameters((1, 1), (6, 3))
  def test_programs_share_the_heads_of_a_small_grid(self, enough, parts):
    self.patch(ENOUGH_PROGRAMS=enough)
    arrays = random_inputs(T=17, H=4)
    got = interpreter.values_and_grads(op("gpu_triton"), *arrays)
    fn = functools.partial(dense, start_BHT=np.zeros((1, 4, 17)))
    self.assert_near(got, in_float64(fn, *arrays, dtype="float32"))
    self.assertEqual(dict(self.calls)["backward_kv"].PARTS, parts)

  def test_equal_calls_give_equal_bits(self):
    self.use_mixed_sizes()
    arrays = random_inputs(T=40, dtype="bfloat16", gate=-2.0)
    fn = op("gpu_triton", prune="online")
    chex.assert_trees_all_equal(
      interpreter.values_and_grads(fn, *arrays),
      interpreter.values_and_grads(fn, *arrays),
    )

  def test_transformations_change_nothing(self):
    fn = lambda *xs: op("gpu_triton", window=2)(*xs)[0]
    conformance.assert_transformable(fn, *random_inputs(T=3, H=1))


def online_first(q_TD, k_SD, log_f_S, m, block=16, chunk=2):
  """The first block that block m visits, by the rule of `pruning`."""
  rows = range(block * m, min(block * (m + 1), len(q_TD)))
  sums = np.cumsum(log_f_S)
  scale = q_TD.shape[1] ** -0.5
  longest = np.maximum.accumulate(np.linalg.norm(k_SD, axis=1))

  def forgets(t, first):
    end = block * first - 1
    keys = np.arange(block * first, t + 1)
    logits = scale * k_SD[keys] @ q_TD[t] + sums[t] - sums[keys]
    lse = np.logaddexp.reduce(logits)
    bound = scale * np.linalg.norm(q_TD[t]) * longest[end]
    bound += sums[t] - sums[end] + np.log(end + 1)
    return bound < lse + pruning.LOG_EPSILON

  first = m
  while first and not all(forgets(t, first) for t in rows):
    first = max(first - chunk, 0)
  return first


class StartsTest(parameterized.TestCase):
  """Which tiles a program sees; needs no triton."""

  @parameterized.parameters(PACKED, MIXED_UP)
  def test_segments_bound_what_is_seen(self, *segments):
    segments = np.array(segments)
    T = len(segments) - 7
    inputs = self.inputs(segments, T)
    seen_BHT, whole_BHT = starts.of_rows(inputs, None)
    sees = (segments[7:, None] == segments) & (segments[7:, None] >= 0)
    sees &= np.tri(T, len(segments), 7, dtype=bool)
    for t, row in enumerate(sees):
      self.assertFalse(row[: seen_BHT[0, 0, t]].any())
      self.assertTrue(row[whole_BHT[0, 0, t] : t + 8].all())
      if (np.diff(segments[:60]) >= 0).all() and row.any():
        self.assertEqual(seen_BHT[0, 0, t], row.argmax())
        self.assertEqual(whole_BHT[0, 0, t], row.argmax())

  def inputs(self, segments, T):
    q_BTHD = jax.ShapeDtypeStruct((1, T, 2, 16), jnp.float32)
    of_keys = jnp.where(segments < 0, -2, segments)[None]
    of_queries = jnp.array(segments)[None, len(segments) - T :]
    nothing = (None,) * 4
    return canonical.Inputs(q_BTHD, *nothing, of_queries, of_keys, None)

  def test_blocks_of_keys_know_the_blocks_of_queries_that_see_them(self):
    T, S, M, N = 70, 90, 16, 32
    c = tiles.Tiles(1, T, S, 1, 1, 16, 1.0, -10.0, M=M, N=N)
    first_T = np.random.default_rng(0).integers(0, 90, T)
    first_T = np.minimum(first_T, 20 + np.arange(T))
    first_BHT = jnp.array(first_T)[None, None]
    whole, stop = (x[0, 0] for x in starts.of_keys(first_BHT, first_BHT, c))
    blocks = np.split(first_T, range(M, T, M))
    for n in range(c.key_blocks):
      sees = [m for m, x in enumerate(blocks) if x.min() < N * (n + 1)]
      self.assertEqual(stop[n], max(sees, default=-1) + 1)
      parted = [m for m, x in enumerate(blocks) if x.max() > N * n]
      self.assertEqual(whole[n], min(parted, default=len(blocks)))


if __name__ == "__main__":
  absltest.main()
