"""What the Triton kernels of 2-simplicial attention compile to; no GPU."""

import dataclasses
import functools
import importlib
from unittest import mock

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.kernels import backend, triton_call
from simplex.kernels.simplicial_attention import api, gpu_triton, sizes
from tests.kernels import conformance
from tests.kernels.compiled import compiler

PACKAGE = "simplex.kernels.simplicial_attention"
MODULES = {
  "forward": "triton_forward",
  "backward_q": "triton_backward",
  "backward_kv": "triton_backward",
}
# Heads per key head and channels: heads that fill a tile, heads that share it
# with short keys, and one head.
SHAPES = ((64, 128), (8, 128), (1, 128), (64, 64))
VARIANTS = (
  dict(dtype="float32", D=64),
  dict(dtype="float16", D=64, heads=1),
  dict(terms=2, D=64),
  dict(terms=2, D=128, heads=1),
  dict(product="plus", D=64),
  dict(segments=True, D=128),
)


def variant(
  name,
  size=None,
  device="NVIDIA H200",
  heads=64,
  D=128,
  terms=1,
  dtype="bfloat16",
  product="times",
  segments=False,
  T=8192,
):
  """A kernel for windows of 32 and 512 keys, and what it is compiled for."""
  shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, dtype)
  key = shape(4, T, 1, D)
  ids = jax.ShapeDtypeStruct((4, T), jnp.int32) if segments else None
  q, k1 = shape(4, T, heads, terms * D), shape(4, T, 1, terms * D)
  choose = lambda case: size or sizes.choose(case, device)
  c, size = gpu_triton.tiles_of(
    name,
    (q, k1, key, key, key, ids, ids, ids),
    product=product,
    scale=D**-0.5,
    spans=((31, 0), (511, 0)),
    choose=choose,
  )
  module = importlib.import_module(f"{PACKAGE}.{MODULES[name]}")
  return getattr(module, name), dataclasses.replace(c, CHUNK=T), size


compiled = functools.partial(compiler.compile_variant, variant)


class KernelTest(parameterized.TestCase):
  def setUp(self):
    super().setUp()
    compiler.skip_without(self, "triton")

  def assert_good(self, name, got, capability):
    self.assertEqual(got.spills, 0, name)
    self.assertLessEqual(got.shared, compiler.SHARED_MEMORY[capability], name)
    self.assertGreater(got.wide_loads, 0, name)

  @parameterized.product(shape=SHAPES, name=tuple(MODULES))
  def test_hopper_multiplies_by_warp_groups(self, shape, name):
    heads, D = shape
    got = compiled(name, 90, heads=heads, D=D)
    self.assert_good(name, got, 90)
    self.assertGreater(got.wgmma, 0)
    self.assertEqual(got.mma, 0)
    # A key that all rows share has fewer channels than a program has threads.
    self.assertLessEqual(got.narrow_loads, 4 if heads == 64 else 0)

  @parameterized.product(shape=((64, 128), (1, 64)), name=tuple(MODULES))
  def test_ampere_multiplies_by_warps(self, shape, name):
    heads, D = shape
    got = compiled(name, 80, heads=heads, D=D)
    self.assert_good(name, got, 80)
    self.assertGreater(got.mma, 0)

  @parameterized.product(case=VARIANTS, name=("forward", "backward_q"))
  def test_forms_and_types_do_not_spill(self, case, name):
    self.assert_good(name, compiled(name, 90, **case), 90)

  def test_spills_are_seen(self):
    got = compiled("backward_q", size=sizes.Sizes(128, 64, 4, 2))
    self.assertGreater(got.spills, 100)

  def test_products_without_warp_groups_are_seen(self):
    got = compiled("forward", size=sizes.Sizes(32, 64, 4, 2))
    self.assertEqual(got.wgmma, 0)
    self.assertGreater(got.mma, 0)

  def test_too_much_shared_memory_is_seen(self):
    got = compiled("forward", heads=1, size=sizes.Sizes(64, 128, 8, 4))
    self.assertGreater(got.shared, compiler.SHARED_MEMORY[90])

  def test_narrow_loads_are_seen(self):
    kernel, c, size = variant("forward", heads=1, D=64)
    with mock.patch.object(compiler, "ALIGNMENT", 2):
      got = compiler.compile_kernel(kernel, c, size, 90)
    self.assertGreater(got.narrow_loads, 4)


class ProgramTest(chex.TestCase):
  """The public op, lowered for a GPU through jax_triton."""

  def setUp(self):
    super().setUp()
    compiler.skip_without_jax_triton(self)
    self.enterContext(mock.patch.object(backend, "platform", lambda: "gpu"))

  def test_value_and_gradients_are_three_calls(self):
    fn = lambda *xs: conformance.value_and_grads(op(windows=(32, 512)), *xs)
    program = compiler.lowered(fn, *shapes())
    self.assertEqual(program.count("@triton_kernel_call"), 3)

  def test_a_sharded_batch_stays_where_it_is(self):
    mesh = conformance.make_mesh((4,), ("data",))
    rows = jax.NamedSharding(mesh, jax.P("data"))
    fn = op(windows=(32, 512))
    with jax.set_mesh(mesh):
      program = compiler.lowered(fn, *shapes(B=4), in_shardings=rows)
    call = next(x for x in program.splitlines() if "@triton_kernel_call" in x)
    self.assertIn("tensor<1x64x4x64xbf16>", call)
    self.assertNotIn("tensor<4x64x", call)

  def test_keys_are_not_repeated_for_their_heads(self):
    program = compiler.lowered(op(windows=(32, 512)), *shapes(H=8))
    call = next(x for x in program.splitlines() if "@triton_kernel_call" in x)
    self.assertEqual(call.count("tensor<2x64x1x64xbf16>"), 4)


class UnsupportedTest(chex.TestCase):
  """Why it cannot run; needs no triton."""

  def assert_reason(self, message, **case):
    with self.assertRaisesRegex(NotImplementedError, message):
      jax.eval_shape(op(), *shapes(**case))

  def test_another_platform_is_named(self):
    self.assert_reason("needs an NVIDIA GPU, not 'cpu'")

  def test_limits_are_named(self):
    self.enterContext(mock.patch.object(backend, "platform", lambda: "gpu"))
    missing = mock.patch.object(triton_call, "missing", lambda: None)
    with missing:
      self.assert_reason("D=260 channels are more than 256", D=260)
    with mock.patch.object(triton_call, "missing", lambda: "jax_triton"):
      self.assert_reason("the package 'jax_triton' is not installed")


class SizesTest(parameterized.TestCase):
  """The table of sizes; needs no triton."""

  @parameterized.product(
    name=tuple(MODULES), bytes=(2, 4), D=(16, 64, 128, 256), plain=(True, False)
  )
  def test_every_case_has_sizes(self, name, bytes, D, plain):
    for heads in (1, 8, 64):
      case = sizes.case_of(name, bytes, D, plain, heads)
      self.assertIsInstance(sizes.choose(case, "NVIDIA H200"), sizes.Sizes)

  def test_the_longest_entry_of_the_device_counts(self):
    size = sizes.Sizes(32, 32, 4, 1)
    case = sizes.case_of("forward", 2, 128, True, 64)
    table = {**sizes.TABLE, "A100": {case[:4]: size, case[:3]: ()}}
    with mock.patch.object(sizes, "TABLE", table):
      self.assertEqual(sizes.choose(case, "NVIDIA A100-SXM4-80GB"), size)
      self.assertNotEqual(sizes.choose(case, "NVIDIA H200"), size)

  def test_candidates_include_what_was_chosen(self):
    for D in (64, 128):
      case = sizes.case_of("forward", 2, D, True, 64)
      self.assertIn(sizes.choose(case), sizes.candidates(case))


def op(**settings):
  return lambda *xs: api.simplicial_attention(
    *xs, implementation="gpu_triton", **settings
  )


def shapes(B=2, T=64, H=4, G=1, D=64, dtype="bfloat16"):
  key = jax.ShapeDtypeStruct((B, T, G, D), dtype)
  return [jax.ShapeDtypeStruct((B, T, H, D), dtype), *[key] * 4]


if __name__ == "__main__":
  absltest.main()
