"""Forgetting attention on NVIDIA GPUs, by Triton kernels.

`triton_forward` and `triton_backward` say how the kernels work. Here is what
surrounds them: padding, the grid, and which tiles each program has to see.
"""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp

from simplex.kernels import backend, triton_call, triton_sizes
from simplex.kernels.forgetting_attention import (
  canonical,
  pruning,
  sizes,
  starts,
)
from simplex.kernels.forgetting_attention.tiles import Tiles

# Fewer programs than this leave multiprocessors idle: two for each of 132.
ENOUGH_PROGRAMS = 264


def make(choose: Callable[[sizes.Case], sizes.Sizes]) -> backend.Backend:
  """The backend with block sizes of the caller's choice."""
  return canonical.make(
    functools.partial(forward, choose=choose),
    functools.partial(backward, choose=choose),
    unsupported,
  )


def unsupported(q_BTHD, *arrays, **static) -> str | None:
  del arrays, static
  return triton_call.unsupported(q_BTHD)


def forward(inputs, *, scale, window, online, choose):
  from simplex.kernels.forgetting_attention import triton_forward

  c, size = tiles_of(
    "forward", inputs, scale=scale, choose=choose, online=online
  )
  find = functools.partial(
    pruning.first_blocks,
    inputs.high_BHS,
    inputs.low_BHS,
    T=c.T,
    window=window,
    block_q=c.M,
    block_k=c.N,
  )
  first_BHM, lowest_BHM = find(inputs.threshold_BH), find(None)
  start_BHT = None
  if window < c.S or inputs.threshold_BH is not None:
    start_BHT = starts.of_blocks(first_BHM, window, c)
  seen_BHT, whole_BHT = starts.of_rows(inputs, start_BHT)
  c = dataclasses.replace(c, EDGE=seen_BHT is not None)
  longest_BGN = pruning.largest_keys(inputs.k_BSGD, c.N) if online else None
  out_BTHD, lse_BHT, stopped_BHM = triton_call.call(
    triton_forward.forward,
    *_padded(inputs),
    *_or_nothing(
      seen_BHT, *starts.of_queries(seen_BHT, whole_BHT, c), longest_BGN
    ),
    out_shape=[
      jax.ShapeDtypeStruct((c.B, c.T, c.H, c.D), jnp.float32),
      jax.ShapeDtypeStruct((c.B, c.H, c.T), jnp.float32),
      jax.ShapeDtypeStruct((c.B, c.H, c.query_blocks), jnp.int32),
    ],
    programs=c.B * c.H * c.query_blocks,
    num_warps=size.warps,
    num_stages=size.stages,
    c=c,
  )
  if online:
    first_BHM = jnp.maximum(first_BHM, stopped_BHM)
    start_BHT = starts.of_blocks(first_BHM, window, c)
  last_M = pruning.last_blocks(c.S, c.T, c.M, c.N)
  skipped_BH = pruning.skipped(first_BHM, lowest_BHM, last_M)
  D = inputs.q_BTHD.shape[-1]
  return out_BTHD[..., :D], lse_BHT, start_BHT, skipped_BH


def backward(
  inputs, start_BHT, lse_BHT, delta_BHT, d_out_BTHD, *, scale, window, choose
):
  """Its `first` are first keys of single queries, or None: all see the first.

  Sizes of blocks of one kernel are then nothing to another.
  """
  del window
  seen_BHT, whole_BHT = starts.of_rows(inputs, start_BHT)
  settings = dict(scale=scale, choose=choose, edge=seen_BHT is not None)
  numbers = (
    lse_BHT,
    delta_BHT,
    _pad(d_out_BTHD.astype(inputs.q_BTHD.dtype)),
  )
  D = inputs.q_BTHD.shape[-1]
  c, size = tiles_of("backward_q", inputs, **settings)
  bounds = starts.of_queries(seen_BHT, whole_BHT, c)
  d_q_BTHD = _backward_q(
    (*_padded(inputs), *_or_nothing(seen_BHT, *bounds), *numbers), c, size
  )
  c, size = tiles_of("backward_kv", inputs, **settings)
  bounds = starts.of_keys(seen_BHT, whole_BHT, c)
  d_k_BSGD, d_v_BSGD, columns_BHS = _backward_kv(
    (*_padded(inputs), *_or_nothing(seen_BHT, *bounds), *numbers), c, size
  )
  d_rows = (x[..., :D] for x in (d_q_BTHD, d_k_BSGD, d_v_BSGD))
  return *d_rows, columns_BHS


def _backward_q(arrays, c, size):
  from simplex.kernels.forgetting_attention import triton_backward

  (d_q_BTHD,) = triton_call.call(
    triton_backward.backward_q,
    *arrays,
    out_shape=[jax.ShapeDtypeStruct((c.B, c.T, c.H, c.D), jnp.float32)],
    programs=c.B * c.H * c.query_blocks,
    num_warps=size.warps,
    num_stages=size.stages,
    c=c,
  )
  return d_q_BTHD


def _backward_kv(arrays, c, size):
  """In parts if tiles alone do not fill the device."""
  from simplex.kernels.forgetting_attention import triton_backward

  blocks = c.B * c.G * c.key_blocks
  parts = min(-(-ENOUGH_PROGRAMS // blocks), c.heads)
  c = dataclasses.replace(c, PARTS=parts)
  shape = jax.ShapeDtypeStruct((parts, c.B, c.S, c.G, c.D), jnp.float32)
  d_k, d_v, columns_BHS = triton_call.call(
    triton_backward.backward_kv,
    *arrays,
    out_shape=[
      shape,
      shape,
      jax.ShapeDtypeStruct((c.B, c.H, c.S), jnp.float32),
    ],
    programs=blocks * parts,
    num_warps=size.warps,
    num_stages=size.stages,
    c=c,
  )
  sums = (x.sum(0) if parts > 1 else x[0] for x in (d_k, d_v))
  return *sums, columns_BHS


def tiles_of(kernel, inputs, *, scale, choose, online=False, edge=False):
  """The tiles of a kernel, not shared between programs yet, and its sizes."""
  B, T, H, D = inputs.q_BTHD.shape
  S, G = inputs.k_BSGD.shape[1:3]
  padded = triton_sizes.channels(D)
  segments = inputs.segments_BS is not None
  itemsize = inputs.q_BTHD.dtype.itemsize
  size = choose(sizes.case_of(kernel, itemsize, padded))
  tiles = Tiles(
    B=B,
    T=T,
    S=S,
    H=H,
    G=G,
    D=padded,
    SCALE=scale,
    LOG_EPSILON=pruning.LOG_EPSILON,
    SEGMENTS=segments,
    EDGE=edge,
    ONLINE=online,
    M=size.rows,
    N=size.keys,
    PRECISION=triton_call.PRECISION,
  )
  return tiles, size


def _padded(inputs):
  """Arrays with channels padded; nothing in the place of missing segments."""
  rows = (_pad(x) for x in (inputs.q_BTHD, inputs.k_BSGD, inputs.v_BSGD))
  segments = _or_nothing(inputs.segments_BT, inputs.segments_BS)
  return (*rows, inputs.high_BHS, inputs.low_BHS, *segments)


def _pad(x_BTHD):
  D = x_BTHD.shape[-1]
  edges = [(0, 0)] * 3 + [(0, triton_sizes.channels(D) - D)]
  return jnp.pad(x_BTHD, edges)


def _or_nothing(*arrays):
  """A kernel has a pointer for an array that is None, which it never reads."""
  nothing = jnp.zeros((1,), jnp.int32)
  return [nothing if x is None else x for x in arrays]


def of_table(case: sizes.Case) -> sizes.Sizes:
  """The sizes of the table for the GPU that there is, or is compiled for."""
  return sizes.choose(case, triton_call.device_kind())


BACKEND = make(of_table)
