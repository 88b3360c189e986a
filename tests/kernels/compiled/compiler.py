"""Compiles Triton kernels for GPUs that are not here, and reads the result."""

import importlib
import importlib.util
import re
import subprocess
import tempfile
from typing import NamedTuple

import jax

# What one program may have, in bytes, by compute capability.
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024}
TARGETS = {80: "sm_80", 90: "sm_90a"}
DEVICES = {80: "NVIDIA A100-SXM4-80GB", 90: "NVIDIA H200"}
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
# Of every array, in bytes: what XLA gives, and jax_triton tells the compiler.
ALIGNMENT = 16
SUMS = ("d_q", "d_k", "d_v", "d_k1", "d_v1", "d_k2", "d_v2", "columns")
GATES = ("high", "low", "longest")
FLOAT32 = ("out", "lse", "delta", *SUMS, *GATES)
BOUNDS = ("start", "least", "most", "whole", "stop", "first")
INT32 = ("seg_q", "seg_k", "seg_1", "seg_2", "chunk", *BOUNDS)


def skip_without(test, *names):
  """Skips a test where packages are missing, or triton does not compile."""
  for name in names:
    if importlib.util.find_spec(name) is None:
      test.skipTest(f"{name} is not installed: there is none for this platform")
  import triton

  if triton.knobs.runtime.interpret:
    test.skipTest("triton interprets in this process: unset TRITON_INTERPRET")


def skip_without_jax_triton(test):
  """Skips a test where programs cannot be lowered for a GPU."""
  skip_without(test, "triton", "jax_triton")
  try:
    importlib.import_module("jax_triton")
  except ImportError as error:
    test.skipTest(f"jax_triton needs jax-cuda13-plugin: {error}")


def lowered(fn, *arrays, **jit) -> str:
  """The program of a function for a GPU, before it is compiled."""
  traced = jax.jit(fn, **jit).trace(*arrays)
  return traced.lower(lowering_platforms=("cuda",)).as_text()


class Compiled(NamedTuple):
  """What a kernel became.

  Attributes:
    registers: of one thread.
    spills: bytes of registers kept in memory.
    shared: bytes of shared memory of a program.
    wgmma: products by warp groups, of Hopper.
    mma: products by warps, of Ampere.
    wide_loads: loads of 16 bytes a thread.
    narrow_loads: loads of 2 bytes a thread.
  """

  registers: int
  spills: int
  shared: int
  wgmma: int
  mma: int
  wide_loads: int
  narrow_loads: int


def compile_kernel(kernel, c, size, capability, dtype="bf16") -> Compiled:
  """Compiles a kernel as jax_triton does, all arrays aligned to 16 bytes."""
  import triton
  from triton.backends.compiler import GPUTarget
  from triton.compiler import ASTSource

  def type_of(name):
    if name == "c":
      return "constexpr"
    kind = "fp32" if name in FLOAT32 else "i32" if name in INT32 else dtype
    return f"*{kind}"

  names = kernel.arg_names
  source = ASTSource(
    kernel,
    signature={name: type_of(name) for name in names},
    constexprs={(names.index("c"),): c},
    attrs={
      (i,): [["tt.divisibility", ALIGNMENT]]
      for i, x in enumerate(names)
      if x != "c"
    },
  )
  compiled = triton.compile(
    source,
    target=GPUTarget("cuda", capability, 32),
    options={"num_warps": size.warps, "num_stages": size.stages},
  )
  ptx = compiled.asm["ptx"]
  registers, spills = _registers(ptx, capability)
  return Compiled(
    registers=registers,
    spills=spills,
    shared=compiled.metadata.shared,
    wgmma=ptx.count("wgmma.mma_async"),
    mma=ptx.count("mma.sync"),
    wide_loads=len(
      re.findall(r"ld\.global\S*\.v4\.b32|cp\.async\S* .*0x10", ptx)
    ),
    narrow_loads=len(re.findall(r"ld\.global\S*\.b16", ptx)),
  )


def _registers(ptx: str, capability: int) -> tuple[int, int]:
  """Registers of a thread, and bytes of them that spill, by ptxas."""
  import triton

  with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
    file.write(ptx)
    file.flush()
    command = [triton.knobs.nvidia.ptxas.path, "-v", file.name, "-o"]
    command += ["/dev/null", f"--gpu-name={TARGETS[capability]}"]
    log = subprocess.run(command, capture_output=True, text=True, check=True)
  read = lambda pattern: int(re.search(pattern, log.stderr)[1])
  return read(r"Used (\d+) registers"), read(r"(\d+) bytes spill stores")


def compile_variant(
  variant, name, capability=90, size=None, **case
) -> Compiled:
  """What a test's `variant(name, size, device, **case)` becomes."""
  kernel, c, chosen = variant(name, size, DEVICES[capability], **case)
  dtype = DTYPES[case.get("dtype", "bfloat16")]
  return compile_kernel(kernel, c, chosen, capability, dtype)
