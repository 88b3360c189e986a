"""2-simplicial attention on NVIDIA GPUs, by Triton kernels.

`triton_forward` and `triton_backward` say how the kernels work. Here is what
surrounds them: padding, the grid, and the sums over what programs share.
"""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp

from simplex.kernels import backend, triton_call, triton_sizes
from simplex.kernels.simplicial_attention import canonical, sizes
from simplex.kernels.simplicial_attention.tiles import Tiles, packing

# Fewer programs than this leave multiprocessors idle: two for each of 132.
ENOUGH_PROGRAMS = 264
# Of the addends of d_k1 and d_v1 that wait for their sum, in one chunk.
ADDEND_BYTES = 2**28


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


def forward(*arrays, product, scale, spans, choose):
  from simplex.kernels.simplicial_attention import triton_forward

  D = arrays[2].shape[-1]
  tiles, size = tiles_of(
    "forward", arrays, product=product, scale=scale, spans=spans, choose=choose
  )
  blocks = tiles.B * tiles.G * tiles.head_blocks * tiles.query_blocks
  wanted = _ceil_div(ENOUGH_PROGRAMS, blocks)
  most = _ceil_div(min(tiles.w2 + tiles.NQ - 1, tiles.R), tiles.N)
  parts = min(wanted, most)
  tiles = dataclasses.replace(
    tiles,
    PARTS1=min(_ceil_div(wanted, parts), tiles.short_blocks),
    PARTS2=parts,
  )
  parts = tiles.PARTS1 * tiles.PARTS2
  B, T, H = tiles.B, tiles.T, tiles.H
  out, lse = triton_call.call(
    triton_forward.forward,
    *_padded(arrays, tiles),
    out_shape=[
      jax.ShapeDtypeStruct((parts, B, T, H, tiles.D), jnp.float32),
      jax.ShapeDtypeStruct((parts, B, T, H), jnp.float32),
    ],
    programs=blocks * parts,
    num_warps=size.warps,
    num_stages=size.stages,
    c=tiles,
  )
  out, lse = _merged(out, lse) if parts > 1 else (out[0], lse[0])
  return out[..., :D], lse


def backward(*arrays, product, scale, spans, choose):
  *inputs, lse, delta, d_out = arrays
  q, k1, v1, k2, v2, *segments = inputs
  D = v1.shape[-1]
  settings = dict(product=product, scale=scale, spans=spans, choose=choose)
  tiles, size = tiles_of("backward_q", inputs, **settings)
  d_out = _pad(d_out.astype(q.dtype), 1, tiles)
  numbers = (lse, delta.astype(jnp.float32), d_out)
  rows = (*_padded(inputs, tiles), *numbers)
  d_q, d_k1, d_v1 = _backward_q(rows, tiles, size)
  tiles, size = tiles_of("backward_kv", inputs, **settings)
  d_k2, d_v2 = _backward_kv(rows, tiles, size)
  d_q, d_k1 = (_unpad(x, tiles.TERMS, D) for x in (d_q, d_k1))
  return d_q, d_k1, *(x[..., :D] for x in (d_v1, d_k2, d_v2))


def _backward_q(rows, tiles, size):
  """d_q, d_k1 and d_v1, over chunks of queries if there are many addends."""
  from simplex.kernels.simplicial_attention import triton_backward

  B, T, S, H, G = tiles.B, tiles.T, tiles.S, tiles.H, tiles.G
  c = dataclasses.replace(tiles, CHUNK=_chunk(tiles))
  num_chunks = _ceil_div(T, c.CHUNK)
  addends = (B, G, c.head_blocks, c.keys, c.slots)
  call = functools.partial(
    triton_call.call,
    triton_backward.backward_q,
    *rows,
    out_shape=[
      jax.ShapeDtypeStruct((B, c.CHUNK, H, c.TERMS * c.D), jnp.float32),
      jax.ShapeDtypeStruct((*addends, c.TERMS * c.D), jnp.float32),
      jax.ShapeDtypeStruct((*addends, c.D), jnp.float32),
    ],
    programs=B * G * c.head_blocks * c.chunk_blocks,
    num_warps=size.warps,
    num_stages=size.stages,
    c=c,
  )
  # Keys are counted from the first that the first query could see.
  first_key = S - T - c.BEFORE1
  num_keys = num_chunks * c.CHUNK + c.w1 - 1

  def step(sums, chunk):
    d_q, *addends = call(chunk[None])
    kept = _kept(chunk, c)[..., None]
    start = chunk * c.CHUNK

    def add(x_BJGD, y):
      y = jnp.where(kept, y, 0).sum((2, 4)).swapaxes(1, 2)
      old = jax.lax.dynamic_slice_in_dim(x_BJGD, start, c.keys, 1)
      return jax.lax.dynamic_update_slice_in_dim(x_BJGD, old + y, start, 1)

    return tuple(map(add, sums, addends)), d_q

  sums = tuple(
    jnp.zeros((B, num_keys, G, D), jnp.float32) for D in (c.TERMS * c.D, c.D)
  )
  sums, d_q = jax.lax.scan(step, sums, jnp.arange(num_chunks))
  d_q = jnp.moveaxis(d_q, 0, 1).reshape(B, -1, *d_q.shape[3:])[:, :T]
  edges = [(0, 0, 0)] * 4
  edges[1] = (first_key, S - first_key - num_keys, 0)
  return d_q, *(jax.lax.pad(x, jnp.float32(0), edges) for x in sums)


def _kept(chunk, c):
  """Which places of `[J, SLOTS]` the kernel has written: see addend_rows."""
  key_J1 = jnp.arange(c.keys)[:, None]
  slot_1S = jnp.arange(c.slots)
  short, query = slot_1S, key_J1 - slot_1S
  if c.w1 > c.CHUNK:
    short, query = query, short
  start = chunk * c.CHUNK
  key = start + key_J1 + (c.S - c.T - c.BEFORE1)
  kept = (short >= 0) & (short < c.w1) & (key >= 0) & (key < c.S)
  return kept & (query >= 0) & (query < jnp.minimum(c.CHUNK, c.T - start))


def _chunk(c):
  """Queries of a chunk: a multiple of a block of them, all if memory allows."""
  each = c.B * c.G * c.head_blocks * (c.TERMS + 1) * c.D * 4

  def fits(chunk):
    return each * (chunk + c.w1 - 1) * min(chunk, c.w1) <= ADDEND_BYTES

  blocks = c.query_blocks
  while blocks > 1 and not fits(blocks * c.NQ):
    blocks = _ceil_div(blocks, 2)
  return blocks * c.NQ


def _backward_kv(rows, tiles, size):
  """d_k2 and d_v2, in parts if tiles alone do not fill the device."""
  from simplex.kernels.simplicial_attention import triton_backward

  c = tiles
  blocks = c.B * c.G * _ceil_div(c.R, c.N)
  most = _ceil_div(min(c.w2 + c.N - 1, c.T), c.NQ) * c.head_blocks
  parts = min(_ceil_div(ENOUGH_PROGRAMS, blocks), most)
  c = dataclasses.replace(c, PARTS1=parts)
  shape = jax.ShapeDtypeStruct((parts, c.B, c.R, c.G, c.D), jnp.float32)
  gradients = triton_call.call(
    triton_backward.backward_kv,
    *rows,
    out_shape=[shape, shape],
    programs=blocks * parts,
    num_warps=size.warps,
    num_stages=size.stages,
    c=c,
  )
  return [x.sum(0) if parts > 1 else x[0] for x in gradients]


def tiles_of(kernel, arrays, *, product, scale, spans, choose):
  """The tiles of a kernel, not shared between programs yet, and its sizes."""
  q, k1, v1, k2, *_ = arrays
  segments = arrays[5:]
  B, T, H, C = q.shape
  S, G, D = v1.shape[1:]
  heads = H // G
  padded, terms = triton_sizes.channels(D), C // D
  plain = terms == 1 and product == "times" and segments[0] is None
  size = choose(sizes.case_of(kernel, q.dtype.itemsize, padded, plain, heads))
  (before1, after1), (before2, after2) = spans
  tiles = Tiles(
    B=B,
    T=T,
    S=S,
    R=k2.shape[1],
    H=H,
    G=G,
    D=padded,
    TERMS=terms,
    PLUS=product == "plus",
    BEFORE1=before1,
    AFTER1=after1,
    BEFORE2=before2,
    AFTER2=after2,
    SEGMENTS=segments[0] is not None,
    SCALE=scale,
    N=size.keys,
    PRECISION=triton_call.PRECISION,
    **packing(size.rows, heads, before1 + after1 + 1, T),
  )
  return tiles, size


def _padded(arrays, tiles):
  """Arrays with channels padded; lengths in the place of missing segments."""
  q, k1, v1, k2, v2, *segments = arrays
  if segments[0] is None:
    segments = [jnp.zeros((1,), jnp.int32)] * 3
  segments = [x.astype(jnp.int32) for x in segments]
  q, k1 = (_pad(x, tiles.TERMS, tiles) for x in (q, k1))
  v1, k2, v2 = (_pad(x, 1, tiles) for x in (v1, k2, v2))
  return (q, k1, v1, k2, v2, *segments)


def _pad(x, terms, tiles):
  """Pads each of the terms, side by side, with channels of zeros."""
  D = x.shape[-1] // terms
  x = x.reshape(*x.shape[:-1], terms, D)
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, tiles.D - D)])
  return x.reshape(*x.shape[:-2], terms * tiles.D)


def _unpad(x, terms, D):
  x = x.reshape(*x.shape[:-1], terms, -1)[..., :D]
  return x.reshape(*x.shape[:-2], terms * D)


def _merged(out_PBTHD, lse_PBTH):
  """Merges outputs over disjoint sets of pairs."""
  lse_BTH = jax.nn.logsumexp(lse_PBTH, axis=0)
  finite_BTH = jnp.where(lse_BTH == -jnp.inf, 0, lse_BTH)
  share_PBTH = jnp.exp(lse_PBTH - finite_BTH)
  return (share_PBTH[..., None] * out_PBTHD).sum(0), lse_BTH


def _ceil_div(a: int, b: int) -> int:
  return -(-a // b)


def of_table(case: sizes.Case) -> sizes.Sizes:
  """The sizes of the table for the GPU that there is, or is compiled for."""
  return sizes.choose(case, triton_call.device_kind())


BACKEND = make(of_table)
