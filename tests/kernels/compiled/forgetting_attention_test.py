"""What the Triton kernels of forgetting attention compile to; no GPU."""

import functools
import importlib
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from launch import tuning
from simplex.kernels import backend, triton_call
from simplex.kernels.forgetting_attention import (
  api,
  canonical,
  gpu_triton,
  sizes,
)
from tests.kernels import conformance
from tests.kernels.compiled import compiler

PACKAGE = "simplex.kernels.forgetting_attention"
MODULES = {
  "forward": "triton_forward",
  "backward_q": "triton_backward",
  "backward_kv": "triton_backward",
}
VARIANTS = (
  ("forward", dict(online=True)),
  ("forward", dict(online=True, D=128, segments=True, T=8190)),
  ("forward", dict(D=256)),
  ("forward", dict(dtype="float32")),
  ("backward_q", dict(dtype="float32", D=128)),
  ("backward_q", dict(D=256)),
  ("backward_kv", dict(D=128, segments=True, heads=8, T=8190)),
  ("backward_kv", dict(dtype="float16")),
  ("backward_kv", dict(dtype="float32", D=128)),
  ("backward_kv", dict(D=256)),
)


def variant(
  name,
  size=None,
  device="NVIDIA H200",
  heads=1,
  D=64,
  dtype="bfloat16",
  segments=False,
  online=False,
  T=8192,
):
  """A kernel for a window, and what it is compiled for."""
  shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, dtype)
  key = shape(4, T, 1, D)
  ids = jax.ShapeDtypeStruct((4, T), jnp.int32) if segments else None
  sums = jax.ShapeDtypeStruct((4, heads, T), jnp.float32)
  inputs = canonical.Inputs(
    shape(4, T, heads, D), key, key, sums, sums, ids, ids, None
  )
  c, size = gpu_triton.tiles_of(
    name,
    inputs,
    scale=D**-0.5,
    choose=lambda case: size or sizes.choose(case, device),
    online=online,
    edge=True,
  )
  module = importlib.import_module(f"{PACKAGE}.{MODULES[name]}")
  return getattr(module, name), c, size


compiled = functools.partial(compiler.compile_variant, variant)


class KernelTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    compiler.skip_without(self, "triton")

  def assert_good(self, name, got, capability):
    self.assertEqual(got.spills, 0, name)
    self.assertLessEqual(got.shared, compiler.SHARED_MEMORY[capability], name)
    self.assertGreater(got.wide_loads, 0, name)
    self.assertEqual(got.narrow_loads, 0, name)

  @parameterized.product(D=(64, 128), name=tuple(MODULES))
  def test_hopper_multiplies_by_warp_groups(self, D, name):
    got = compiled(name, 90, D=D)
    self.assert_good(name, got, 90)
    self.assertGreater(got.wgmma, 0)
    self.assertEqual(got.mma, 0)

  @parameterized.parameters(*zip(MODULES, (64, 128, 128), strict=True))
  def test_ampere_multiplies_by_warps(self, name, D):
    got = compiled(name, 80, D=D)
    self.assert_good(name, got, 80)
    self.assertGreater(got.mma, 0)

  @parameterized.parameters(*VARIANTS)
  def test_types_widths_and_options_do_not_spill(self, name, case):
    self.assert_good(name, compiled(name, 90, **case), 90)

  def test_spills_are_seen(self):
    got = compiled("backward_kv", size=sizes.Sizes(64, 128, 4, 2))
    self.assertGreater(got.spills, 100)


class ProgramTest(parameterized.TestCase):
  """The public op, lowered for a GPU through jax_triton."""

  def setUp(self):
    super().setUp()
    compiler.skip_without_jax_triton(self)
    self.enterContext(mock.patch.object(backend, "platform", lambda: "gpu"))

  def test_value_and_gradients_are_three_calls(self):
    fn = lambda *xs: conformance.value_and_grads(
      op(prune="online", window=64), *xs
    )
    program = compiler.lowered(fn, *shapes())
    self.assertEqual(program.count("@triton_kernel_call"), 3)

  def test_keys_are_not_repeated_for_their_heads(self):
    program = compiler.lowered(op(), *shapes(H=8))
    call = next(x for x in program.splitlines() if "@triton_kernel_call" in x)
    self.assertEqual(call.count("tensor<2x64x1x64xbf16>"), 2)

  @parameterized.parameters(*tuning.OPS)
  def test_what_is_tuned_is_what_the_op_takes(self, name):
    problem = tuning.OPS[name][0]
    case = tuning.module(name, "sizes").case_of(
      "backward_q", tuning.BYTES, *problem.case
    )
    size = sizes.Sizes(64, 32, 8, 1)
    fn = tuning.bind(name, problem, case, size)
    arrays = jax.eval_shape(lambda: tuning.inputs(problem))
    with mock.patch.object(triton_call, "call") as call:
      call.side_effect = lambda *xs, out_shape, **constants: [
        jnp.zeros(x.shape, x.dtype) for x in out_shape
      ]
      grads = jax.eval_shape(lambda *xs: jax.vjp(fn, *xs)[1](xs[0]), *arrays)
    self.assertEqual([x.shape for x in grads], [x.shape for x in arrays])
    used = {
      x.args[0].fn.__name__: (x.kwargs["num_warps"], x.kwargs["num_stages"])
      for x in call.call_args_list
    }
    self.assertEqual(used["backward_q"], (8, 1))


class UnsupportedTest(chex.TestCase):
  """Why it cannot run; needs no triton."""

  def assert_reason(self, message, **case):
    with self.assertRaisesRegex(NotImplementedError, message):
      jax.eval_shape(op(), *shapes(**case))

  def test_another_platform_is_named(self):
    self.assert_reason("needs an NVIDIA GPU, not 'cpu'")

  def test_limits_are_named(self):
    self.enterContext(mock.patch.object(backend, "platform", lambda: "gpu"))
    with mock.patch.object(triton_call, "missing", lambda: None):
      self.assert_reason("D=260 channels are more than 256", D=260)
    with mock.patch.object(triton_call, "missing", lambda: "jax_triton"):
      self.assert_reason("the package 'jax_triton' is not installed")

  def test_types_are_named(self):
    arrays = [jnp.zeros((1, 1, 1, 16), jnp.int8)] * 3
    self.enterContext(mock.patch.object(backend, "platform", lambda: "gpu"))
    with mock.patch.object(triton_call, "missing", lambda: None):
      reason = gpu_triton.unsupported(*arrays)
    self.assertIn("int8 is not one of ('float32', 'bfloat16'", reason)


class SizesTest(parameterized.TestCase):
  """The table of sizes; needs no triton."""

  @parameterized.product(
    name=tuple(MODULES), bytes=(2, 4), D=(16, 64, 128, 256)
  )
  def test_every_case_has_sizes_that_are_candidates(self, name, bytes, D):
    case = sizes.case_of(name, bytes, D)
    for device in ("NVIDIA H200", "NVIDIA A100-SXM4-80GB"):
      size = sizes.choose(case, device)
      self.assertIsInstance(size, sizes.Sizes)
      if D <= 128 and bytes == 2:
        self.assertIn(size, sizes.candidates(case))


def op(**settings):
  return functools.partial(
    api.forgetting_attention, implementation="gpu_triton", **settings
  )


def shapes(B=2, T=64, H=4, G=1, D=64, dtype="bfloat16"):
  key = jax.ShapeDtypeStruct((B, T, G, D), dtype)
  gates = jax.ShapeDtypeStruct((B, T, H), jnp.float32)
  return [jax.ShapeDtypeStruct((B, T, H, D), dtype), key, key, gates]


if __name__ == "__main__":
  absltest.main()
