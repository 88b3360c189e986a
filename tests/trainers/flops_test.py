"""Tests for trainers/flops.py and trainers/accelerators.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp

from tests.trainers import toy
from trainers import accelerators, flops, sharding

A = jax.ShapeDtypeStruct((4, 8), "float32")
B = jax.ShapeDtypeStruct((8, 16), "float32")
PRODUCT = 2 * 4 * 8 * 16


class FlopsTest(chex.TestCase):
  def count(self, fn, *args):
    return flops.count(fn, *args).get("float32", 0)

  def test_a_product_has_two_for_each_of_its_three_sizes(self):
    self.assertEqual(self.count(jnp.dot, A, B), PRODUCT)
    batched = lambda a, b: jnp.einsum("Nij,Njk->Nik", a, b)
    a, b = (jax.ShapeDtypeStruct((3, *x.shape), x.dtype) for x in (A, B))
    self.assertEqual(self.count(batched, a, b), 3 * PRODUCT)

  def test_types_are_counted_apart(self):
    half = jax.ShapeDtypeStruct(A.shape, "bfloat16")
    both = lambda a, half, b: (a @ b, half @ b.astype("bfloat16"))
    counted = flops.count(both, A, half, B)
    self.assertEqual(counted, {"float32": PRODUCT, "bfloat16": PRODUCT})

  def test_a_loop_counts_each_turn_and_a_branch_its_longest(self):
    square = jax.ShapeDtypeStruct((8, 8), "float32")
    turn = lambda x, _: (x @ x, None)
    looped = lambda x: jax.lax.scan(turn, x, None, length=5)[0]
    once = 2 * 8**3
    self.assertEqual(self.count(looped, square), 5 * once)
    nested = lambda x: jax.lax.scan(
      lambda x, _: (looped(x), None), x, None, length=3
    )[0]
    self.assertEqual(self.count(jax.jit(nested), square), 15 * once)
    branch = lambda x: jax.lax.cond(x[0, 0] > 0, looped, lambda x: x @ x, x)
    self.assertEqual(self.count(branch, square), 5 * once)

  def test_what_is_computed_again_for_a_gradient_is_seen(self):
    fn = lambda a, b: jnp.sin(jnp.sin(a @ b) @ b.T).sum()
    plain = self.count(jax.grad(fn), A, B)
    again = self.count(jax.grad(jax.checkpoint(fn)), A, B)
    self.assertEqual(again - plain, 2 * PRODUCT)

  def test_a_convolution_counts_its_kernel_at_each_output(self):
    image = jax.ShapeDtypeStruct((2, 3, 10, 10), "float32")
    kernel = jax.ShapeDtypeStruct((5, 3, 3, 3), "float32")
    convolve = lambda x, k: jax.lax.conv(x, k, (1, 1), "SAME")
    expected = 2 * (2 * 5 * 10 * 10) * (3 * 3 * 3)
    self.assertEqual(self.count(convolve, image, kernel), expected)

  def test_a_step_is_three_times_its_loss(self):
    self.assertEqual(
      flops.of_step(toy.problem(batch_size=8)), {"float32": 3 * 2 * 8 * 4}
    )

  def test_the_ideal_time_is_flops_over_the_peak(self):
    counted = {"bfloat16": 197 * 10**12, "float32": 197 * 10**12}
    self.assertAlmostEqual(flops.ideal_seconds(counted, "TPU v5 lite"), 2.0)
    self.assertEqual(flops.ideal_seconds(counted, "cpu"), 0)
    self.assertEqual(flops.ideal_seconds({"int8": 1}, "TPU v5 lite"), 0)

  def test_a_cpu_has_no_ideal_time(self):
    mesh = sharding.make_mesh()
    self.assertEqual(flops.ideal_step_seconds(toy.problem(), mesh), 0)


class AcceleratorsTest(chex.TestCase):
  def test_each_name_that_jax_gives_finds_its_own(self):
    gib = lambda kind: accelerators.find(kind).memory / accelerators.GIB
    self.assertEqual(gib("TPU v4"), 32)
    self.assertEqual(gib("TPU v5 lite"), 16)
    self.assertEqual(gib("TPU v5"), 95)
    self.assertEqual(gib("TPU v6 lite"), 32)
    self.assertEqual(gib("NVIDIA A100-SXM4-40GB"), 40)
    self.assertEqual(gib("NVIDIA A100-SXM4-80GB"), 80)
    self.assertGreater(gib("NVIDIA H200"), gib("NVIDIA H100 80GB HBM3"))
    slower = accelerators.find("NVIDIA H100 PCIe").peaks["bfloat16"]
    faster = accelerators.find("NVIDIA H100 80GB HBM3").peaks["bfloat16"]
    self.assertLess(slower, faster)
    self.assertIsNone(accelerators.find("cpu"))


if __name__ == "__main__":
  absltest.main()
