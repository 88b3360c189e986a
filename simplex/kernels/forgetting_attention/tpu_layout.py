"""How arrays of forgetting attention lie in memory for its TPU kernels.

Positions are filled up to whole blocks, widths to the lanes of a register. Each
kernel owns blocks of one side, queries or keys, and the other side passes by.
What it owns is the first axis of its tiles: vectors over it are columns. What
passes is the second: vectors over it are rows. So nothing is transposed in a
kernel. A column in HBM takes the place of 128: as much as one of q, k or v in
float32 at a width of 128.
"""

from typing import NamedTuple

from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import jax.numpy as jnp

from simplex.kernels import tpu
from simplex.kernels.forgetting_attention import pruning
from simplex.kernels.forgetting_attention.canonical import Inputs
from simplex.types import Array

# Positions of a tile: with fewer, a tile would be computed sooner than the next
# is copied.
BLOCK = 512


class Config(NamedTuple):
  """What is known when a kernel is traced.

  Attributes:
    T: queries, the last of the positions.
    S: positions.
    H: heads.
    G: key heads.
    window: keys that a position sees.
    scale: factor of the logits.
    block_q: queries of a block.
    block_k: keys of a block.
  """

  T: int
  S: int
  H: int
  G: int
  window: int
  scale: float
  block_q: int
  block_k: int


class Side(NamedTuple):
  """Queries or keys of the call, `[B, heads, ...]`, or a block of them.

  Attributes:
    x: q or k, `[length, D]`.
    y: d_out, empty in the forward pass, or v, `[length, D]`.
    vectors: float32, first the prefix sums of the log gates, high and low; each
      is a column or a row.
    segments: empty, or a column or a row of integers.
  """

  x: Array
  y: tuple | Array
  vectors: Array
  segments: tuple | Array


def configure(inputs: Inputs, *, scale: float, window: int) -> Config:
  """Chooses the blocks of a call."""
  T, H = inputs.q_BTHD.shape[1:3]
  S, G = inputs.k_BSGD.shape[1:3]
  block_q, block_k = (min(BLOCK, tpu.round_up(n, tpu.LANES)) for n in (T, S))
  return Config(T, S, H, G, window, scale, block_q, block_k)


def queries(cfg: Config, inputs: Inputs, axis: int, *vectors, d_out_BTHD=None):
  """The queries as a `Side` of the first or the second axis of tiles.

  Args:
    cfg: of the call.
    inputs: of the call.
    axis: of the tiles: 0 if the kernel owns queries, 1 if they pass by.
    *vectors: `[B, H, T]`, to follow the sums of the gates.
    d_out_BTHD: None in the forward pass.
  """
  start = cfg.S - cfg.T
  gates = inputs.high_BHS[..., start:], inputs.low_BHS[..., start:]
  fills = 0.0, 0.0, *(tpu.NO_ROW for _ in vectors)
  return Side(
    _matrix(inputs.q_BTHD, cfg.block_q),
    () if d_out_BTHD is None else _matrix(d_out_BTHD, cfg.block_q),
    _vectors((*gates, *vectors), cfg.block_q, axis, fills),
    _segments(inputs.segments_BT, cfg.block_q, axis),
  )


def keys(cfg: Config, inputs: Inputs, axis: int) -> Side:
  """The keys as a `Side` of the first or the second axis of tiles."""
  return Side(
    _matrix(inputs.k_BSGD, cfg.block_k),
    _matrix(inputs.v_BSGD, cfg.block_k),
    _vectors((inputs.high_BHS, inputs.low_BHS), cfg.block_k, axis, (0.0, 0.0)),
    _segments(inputs.segments_BS, cfg.block_k, axis),
  )


def unpack(x_BHTD: Array, like_BTHD: Array) -> Array:
  """A matrix as it was before it was filled up."""
  T, D = like_BTHD.shape[1], like_BTHD.shape[3]
  return x_BHTD[:, :, :T, :D].swapaxes(1, 2)


def first_and_lowest(cfg: Config, inputs: Inputs) -> tuple[Array, Array]:
  """The first blocks to visit, and those there would be without pruning."""
  return tuple(
    pruning.first_blocks(
      inputs.high_BHS,
      inputs.low_BHS,
      threshold_BH,
      T=cfg.T,
      window=cfg.window,
      block_q=cfg.block_q,
      block_k=cfg.block_k,
    )
    for threshold_BH in (inputs.threshold_BH, None)
  )


def last_blocks(cfg: Config) -> Array:
  """The last block of keys that each block of queries sees, `[M]`."""
  return pruning.last_blocks(cfg.S, cfg.T, cfg.block_q, cfg.block_k)


def ends(cfg: Config, inputs: Inputs) -> Array:
  """What "online" asks of the keys up to the end of each block.

  Returns:
    `[B, H, 4, N]`: length of the longest, log of their number, and both parts
    of the sum of the log gates.
  """
  largest_BGN = pruning.largest_keys(inputs.k_BSGD, cfg.block_k)
  largest_BHN = jnp.repeat(largest_BGN, cfg.H // cfg.G, axis=1)
  N = largest_BHN.shape[-1]
  numbers_N = jnp.minimum(jnp.arange(1, N + 1) * cfg.block_k, cfg.S)
  logs_BHN = jnp.broadcast_to(jnp.log(numbers_N * 1.0), largest_BHN.shape)
  sums = (x[..., numbers_N - 1] for x in (inputs.high_BHS, inputs.low_BHS))
  return jnp.stack([largest_BHN, logs_BHN, *sums], axis=2)


def visitors(cfg: Config, first_BHM: Array) -> Array:
  """Which blocks of queries visit each block of keys.

  Returns:
    `[B, H, N, 1, 1 + M]`: their number, and then their indices, ascending.
  """
  n_N1 = jnp.arange(-(-cfg.S // cfg.block_k))[:, None]
  visits_BHNM = first_BHM[:, :, None] <= n_N1
  visits_BHNM &= n_N1 <= last_blocks(cfg)
  number_BHN1 = visits_BHNM.sum(-1, keepdims=True)
  order_BHNM = jnp.argsort(~visits_BHNM, axis=-1, stable=True)
  lists = jnp.concatenate([number_BHN1, order_BHNM], axis=-1)
  return lists[..., None, :].astype(jnp.int32)


def owned(cfg: Config, x: Array, block: int, place) -> pl.BlockSpec:
  """The block of `[B, heads, length, width]` that a step of the grid holds.

  Args:
    cfg: of the call.
    x: the array; heads divide H.
    block: its positions.
    place: of the step's indices: batch, head of H and block.
  """

  def index(*ids):
    b, h, n = place(*ids)
    return b, head(cfg, x, h), n, 0

  return pl.BlockSpec((None, None, block, x.shape[-1]), index)


def scalars(x: Array, place) -> pl.BlockSpec:
  """A row of numbers, in the memory from which loops are steered."""
  zeros = 0, 0
  lead = x.ndim - 2
  return pl.BlockSpec(
    (*(None,) * lead, *x.shape[-2:]),
    lambda *ids: (*place(*ids)[:lead], *zeros),
    memory_space=pltpu.SMEM,
  )


def head(cfg: Config, x: Array, h):
  """The head of an array that belongs to head h of H."""
  return lax.div(h, jnp.int32(cfg.H // x.shape[1]))


def _matrix(x_BTHD, block):
  width = tpu.round_up(x_BTHD.shape[-1], tpu.LANES) - x_BTHD.shape[-1]
  x_BHTD = jnp.pad(x_BTHD.swapaxes(1, 2), ((0, 0),) * 3 + ((0, width),))
  return _fill(x_BHTD, block, 2)


def _vectors(vectors, block, axis, fills):
  filled = (
    _fill(x, block, 2, fill) for x, fill in zip(vectors, fills, strict=True)
  )
  return jnp.stack(tuple(filled), axis=3 - axis)


def _segments(segments_BS, block, axis):
  if segments_BS is None:
    return ()
  return _fill(jnp.expand_dims(segments_BS, (1, 3 - axis)), block, 2 + axis)


def _fill(x, block, axis, fill=0):
  pad = [(0, 0)] * x.ndim
  pad[axis] = 0, -x.shape[axis] % block
  return jnp.pad(x, pad, constant_values=fill)
