"""Tests for launch/benchmark.py and launch/timing.py."""

import importlib
import time
from unittest import mock

from absl.testing import absltest, parameterized
import jax
import numpy as np

from launch import benchmark, conformance, timing, tuning
from launch.benchmarks import (
  adapters,
  forgetting_attention,
  generation,
  simplicial_attention,
)
from simplex.models import transformer
from tests.launch import command


class BenchmarkTest(parameterized.TestCase):
  def test_a_table_has_a_column_for_every_key(self):
    text = benchmark.table(
      [{"name": "a", "ms": 1.23456}, {"name": "b", "x": 2}]
    )
    head, rule, a, b = text.splitlines()
    self.assertEqual(
      [c.strip() for c in head.split("|")[1:-1]], ["name", "ms", "x"]
    )
    self.assertIn("1.235", a)
    self.assertLen({len(line) for line in (head, rule, a, b)}, 1)

  @parameterized.product(name=benchmark.NAMES)
  def test_every_benchmark_has_a_docstring_and_a_run(self, name):
    module = importlib.import_module(f"launch.benchmarks.{name}")
    self.assertNotEmpty(module.__doc__)
    self.assertTrue(callable(module.run))

  def test_a_suite_of_another_device_is_refused(self):
    result = command.launch("--suite=gpu", module="launch.benchmark")
    self.assertNotEqual(result.returncode, 0)
    self.assertIn("a gpu is needed, and JAX finds 'cpu' alone", result.stderr)

  def test_medians_order_a_fast_and_a_slow_function(self):
    calls = []
    fns = {
      "fast": lambda: calls.append("fast"),
      "slow": lambda: (calls.append("slow"), time.sleep(0.02)),
    }
    seconds = timing.medians(fns, rounds=3)
    self.assertGreater(seconds["slow"], seconds["fast"])
    self.assertEqual(calls, ["fast", "slow"] * 4)  # one round warms up


class SimplicialAttentionTest(parameterized.TestCase):
  @parameterized.product(
    N=(5, 9), windows=((1, 1), (2, 5), (5, 2), (9, 9), (20, 3))
  )
  def test_pairs_are_those_that_queries_see(self, N, windows):
    seen = [np.prod(np.minimum(i, windows)) for i in range(1, N + 1)]
    self.assertEqual(simplicial_attention.pairs(N, windows), sum(seen))

  def test_the_largest_size_costs_what_is_published(self):
    size = simplicial_attention.Size(4, 8192, 128, 1, 128, (32, 512))
    tera = simplicial_attention.flops(size, backward=False) / 1e12
    self.assertAlmostEqual(tera, 34.09, places=2)

  def test_the_naive_peer_computes_the_same(self):
    size = simplicial_attention.Size(2, 12, 4, 2, 8, (3, 7))
    arrays, _ = simplicial_attention.inputs(size, "float32")
    fns = simplicial_attention._functions(size, "cpu")
    outs = [fns[name](*arrays[name]) for name in ("simplex", "naive")]
    np.testing.assert_allclose(*outs, atol=1e-5)

  def test_rows_have_time_and_memory_and_a_figure(self):
    size = simplicial_attention.Size(1, 16, 4, 1, 8, (3, 7))
    rows = simplicial_attention.rows_of(size)
    self.assertLen(rows, 6)
    for row in rows:
      self.assertGreater(row["ms"], 0)
      self.assertGreater(row["temporary MiB"], 0)
    with mock.patch.object(
      simplicial_attention, "roof", return_value=(0.1, 0.01)
    ):
      (figure,) = simplicial_attention.figures(rows)
    self.assertIn("naive", figure.svg)
    self.assertLen(figure.curves["simplex"].x, 2)

  def test_sizes_that_take_too_long_say_so(self):
    (row,) = simplicial_attention.rows_of(
      simplicial_attention.Size(4, 8192, 128, 1, 128, (32, 512))
    )
    self.assertIn("1.4e+14 FLOP are too many for a cpu", row["missing"])


class GenerationTest(parameterized.TestCase):
  def test_both_loops_draw_the_same_and_have_a_row(self):
    outs = []

    def medians(fns, rounds):
      del rounds
      outs.extend(fn() for fn in fns.values())
      return {"cached": 0.5, "uncached": 4.0}

    config = transformer.Config(width=8, num_layers=1, num_heads=2)
    sizes = dict(BATCH=2, PROMPT=3, NEW=4, CONFIG=config)
    with (
      mock.patch.multiple(generation, **sizes),
      mock.patch.object(timing, "medians", medians),
    ):
      rows = generation.run()
    self.assertEqual([row["tokens_per_second"] for row in rows], [16, 2])
    self.assertEqual([row["ratio"] for row in rows], [8, 1])
    np.testing.assert_array_equal(*(out.tokens_BT for out in outs))
    np.testing.assert_allclose(*(out.log_probs_BT for out in outs), atol=1e-5)


class AdaptersTest(parameterized.TestCase):
  def test_equal_parameters_are_timed_beside_the_formed_product(self):
    config = transformer.Config(width=8, num_layers=1, num_heads=2)
    with mock.patch.multiple(adapters, BATCH=1, CONTEXT=4, CONFIG=config):
      rows = {row["name"]: row for row in adapters.run()}
    lora, singlora = rows["adapters/lora"], rows["adapters/singlora"]
    self.assertEqual(lora["parameters"], singlora["parameters"])
    self.assertEqual(lora["over LoRA"], 1.0)
    self.assertIn("adapters/singlora, formed", rows)
    for row in rows.values():
      self.assertGreater(row["seconds"], 0)
      self.assertGreater(row["temporary MiB"], 0)


class ForgettingAttentionTest(parameterized.TestCase):
  def test_rows_have_time_memory_and_what_is_skipped_and_a_figure(self):
    variants = forgetting_attention.VARIANTS
    few = [variants[0], variants[2], variants[-1]]
    with mock.patch.object(forgetting_attention, "VARIANTS", few):
      rows = forgetting_attention.rows_of(forgetting_attention.Size(300, 64))
    self.assertLen(rows, 2 * len(few))
    for row in rows:
      self.assertGreater(row["ms"], 0)
      self.assertGreater(row["temporary MiB"], 0)
    skipped = {(row["prune"], row["mean"]): row["skipped"] for row in rows}
    self.assertEqual(skipped["", 2.0], 0)
    self.assertEqual(skipped["", ""], "")
    self.assertGreater(skipped["online", 0.0], 0)
    (figure,) = forgetting_attention.figures(rows)
    self.assertLen(figure.curves, len(few))

  def test_what_cannot_run_says_why(self):
    with mock.patch.object(
      forgetting_attention,
      "_compiled",
      side_effect=NotImplementedError("no device"),
    ):
      rows = forgetting_attention.rows_of(forgetting_attention.Size(300, 64))
    self.assertEqual({row["missing"] for row in rows}, {"no device"})
    self.assertEqual(forgetting_attention.figures(rows), [])

  def test_pairs_are_counted_once(self):
    size = forgetting_attention.Size(4, 64)
    work = forgetting_attention.flops(size, 3, backward=False)
    self.assertEqual(work, 4 * 64 * 3 * (1 + 2 + 3 + 4))

  def test_lengths_that_take_too_long_say_so(self):
    (row,) = forgetting_attention.rows_of(forgetting_attention.SIZES[-1])
    self.assertIn("1.5e+13 FLOP are too many for a cpu", row["missing"])


class ConformanceTest(parameterized.TestCase):
  def small(self, op, case, **sizes):
    found = conformance.OPS[op]
    case = found.cases[case]._replace(B=1, T=12, S=12, D=16, **sizes)
    return mock.patch.dict(
      conformance.OPS, {op: found._replace(cases={"small": case})}
    )

  @parameterized.parameters(
    ("dot_product_attention", "segments"),
    ("forgetting_attention", "segments"),
    ("simplicial_attention", "strassen"),
  )
  def test_what_runs_here_passes_and_the_rest_says_why(self, op, case):
    with self.small(op, case):
      rows = list(conformance.rows_of(op, "small", "bfloat16"))
    passes = {r["implementation"]: r.get("passes") for r in rows}
    self.assertTrue(passes["xla"])
    self.assertTrue(passes["reference"])
    for row in rows:
      if row.get("passes") is None:
        self.assertIn("needs a", row["missing"])

  def test_an_error_above_the_tolerance_fails(self):
    with (
      self.small("simplicial_attention", "trilinear"),
      mock.patch.dict(conformance.TOLERANCES, {"bfloat16": (1e-5, 1e-5)}),
    ):
      op = "simplicial_attention"
      rows = list(conformance.rows_of(op, "small", "bfloat16"))
    self.assertFalse(rows[0]["passes"])
    self.assertTrue(rows[0]["repeats"])


class TuningTest(parameterized.TestCase):
  @parameterized.parameters(*tuning.OPS)
  def test_the_fastest_candidate_wins_and_what_fails_says_so(self, op):
    sizes, problem = tuning.module(op, "sizes"), tuning.OPS[op][0]
    case = sizes.case_of("forward", tuning.BYTES, *problem.case)
    candidates = sizes.candidates(case)
    best = [x for x in candidates if x.warps == 4][3]

    def measure(size):
      if size.warps == 8:
        raise jax.errors.JaxRuntimeError("out of registers\nmore")
      return 1.0 if size == best else 2.0

    found, rows = tuning.fastest(case, candidates, measure)
    self.assertEqual(found, best)
    missing = {row.get("missing") for row in rows}
    self.assertEqual(missing, {None, "out of registers"})

  @parameterized.parameters(*tuning.OPS)
  def test_the_table_is_what_the_command_would_write(self, op):
    sizes = tuning.module(op, "sizes")
    written = tuning.source(sizes.TABLE, sizes.Case._fields)
    self.assertEqual(tuning.path(op).read_text(), written)
    space = {}
    exec(written, space)
    self.assertEqual(space["TABLE"], sizes.TABLE)


if __name__ == "__main__":
  absltest.main()
