"""Tests for launch/benchmark.py and launch/timing.py."""

import importlib
import time

from absl.testing import absltest, parameterized

from launch import benchmark, timing


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

  def test_medians_order_a_fast_and_a_slow_function(self):
    calls = []
    fns = {
      "fast": lambda: calls.append("fast"),
      "slow": lambda: (calls.append("slow"), time.sleep(0.02)),
    }
    seconds = timing.medians(fns, rounds=3)
    self.assertGreater(seconds["slow"], seconds["fast"])
    self.assertEqual(calls, ["fast", "slow"] * 4)  # one round warms up


if __name__ == "__main__":
  absltest.main()
