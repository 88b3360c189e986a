"""Loops over tiles that need a mask, at both edges, and those that do not.

Only kernels import this module, since it needs triton. Some row sees a key of
the tiles lo..hi; those from in_lo to in_hi are seen whole by every row.
"""

import triton
import triton.language as tl

LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
def phase_size(lo, in_lo, in_hi, hi, MASKED: tl.constexpr):
  """Blocks of a loop: those on both edges, or those between."""
  if MASKED:
    return in_lo - lo + hi - in_hi
  return in_hi - in_lo


@triton.jit
def phase_block(i, lo, in_lo, in_hi, MASKED: tl.constexpr):
  """The i-th block of a loop: those on both edges, or those between."""
  if MASKED:
    return tl.where(lo + i < in_lo, lo + i, lo + i - in_lo + in_hi)
  return in_lo + i
