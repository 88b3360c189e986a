"""Kernels that touch what is not theirs, for the tests of the tests."""

import triton
import triton.language as tl


@triton.jit
def writes_before(x, out, c: tl.constexpr):
  i = tl.arange(0, 16)
  tl.store(out + i - 1, tl.load(x + i))


@triton.jit
def writes_after(x, out, c: tl.constexpr):
  i = tl.arange(0, 16)
  tl.store(out + i + 1, tl.load(x + i))


@triton.jit
def reads_after(x, out, c: tl.constexpr):
  i = tl.arange(0, 16)
  tl.store(out + i, tl.load(x + i + 1))
