"""Tests for trainers/topologies.py."""

import importlib.util
from unittest import mock

from absl.testing import absltest, parameterized
import optax

from tests.trainers import toy
from trainers import loop, planning, sharding, topologies

TPU = "v5e:2x2"


class TopologiesTest(parameterized.TestCase):
  @parameterized.parameters(
    "v5p", "v5p:4x4", "v5e:", "v5e:4xy", "h100:2x4", "a"
  )
  def test_a_name_that_is_none_lists_examples(self, name):
    with self.assertRaisesRegex(ValueError, f"={name} is not like one of: v5p"):
      topologies.find(name)

  @parameterized.parameters(("v5e:4x4", "libtpu"), ("h200:8", "pjrt"))
  def test_a_compiler_that_is_missing_is_named_with_its_command(
    self, name, part
  ):
    missing = mock.patch.object(importlib.util, "find_spec", return_value=None)
    with (
      missing,
      self.assertRaisesRegex(
        ModuleNotFoundError, rf"not installed: .*{part}\n.*pip install .*{part}"
      ),
    ):
      topologies.find(name)

  def test_a_step_is_compiled_for_a_tpu_that_is_not_here(self):
    if importlib.util.find_spec("libtpu") is None:
      self.skipTest("libtpu is not installed: make compile-tpu")
    mesh = sharding.make_mesh(devices=topologies.find(TPU))
    plan = planning.make(toy.problem(), optax.sgd(0.1), loop.Config(), mesh)
    self.assertEqual(plan.device_kind, "TPU v5 lite")
    self.assertEqual(plan.capacity, 16 * 2**30)
    self.assertGreater(plan.ideal_seconds, 0)
    self.assertNotEmpty(plan.collectives)

  def test_gpus_fill_their_hosts(self):
    there = mock.patch.object(importlib.util, "find_spec", return_value=True)
    with there, self.assertRaisesRegex(ValueError, "12 GPUs do not fill"):
      topologies.find("h100:12")

  def test_an_h100_has_another_name_and_less_memory(self):
    for text in ('"NVIDIA H100 80GB HBM3"', "84942979072", "3352320000000"):
      self.assertIn(text, topologies.H100)
      self.assertNotIn(text, topologies.H200)


if __name__ == "__main__":
  absltest.main()
