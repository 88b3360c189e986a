"""What the fast backends share: prefix sums in, gradients of gates out.

A backend made by `make` is given `forward` and `backward` of a smaller op:

  forward(inputs: Inputs, *, scale, window, online)
    -> out_BTHD, lse_BHT, first_BHM, skipped_BH
  backward(inputs: Inputs, first_BHM, lse_BHT, delta_BHT, d_out_BTHD,
           *, scale, window)
    -> d_q_BTHD, d_k_BSGD, d_v_BSGD, columns_BHS

in which out and lse are float32, lse is -inf out of `forward` and 0 into
`backward` for a row that sees nothing; `window` is at most S; `first_BHM` is
the first block of keys that each block of queries has visited, whatever the
backend's blocks are, so that both directions leave out the same; and
`columns_BHS` is the sum over the queries of the gradient of the logits.

The gradient of a logit is `P (dP - delta)` with dP = d_out . v, so the sum of a
row is that of the gradient of its lse, and is not summed again: the gradient of
log gate t, which decays the pairs of a query not before t with a key before t,
is the sum of the columns before t less that of the rows before t.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.kernels.backend import Backend
from simplex.kernels.forgetting_attention import gates, pruning
from simplex.types import Array


class Inputs(NamedTuple):
  """What both directions of a backend read.

  Attributes:
    q_BTHD: queries, the last T of S positions.
    k_BSGD: keys.
    v_BSGD: values.
    high_BHS: prefix sums of the log gates, float32; see `gates`.
    low_BHS: what is to be added to them.
    segments_BT: of the queries, or None; -1 where none is seen.
    segments_BS: of the keys, or None; -2 where none sees. Only equal ones meet.
    threshold_BH: decays below it may be left out; None leaves out nothing.
  """

  q_BTHD: Array
  k_BSGD: Array
  v_BSGD: Array
  high_BHS: Array
  low_BHS: Array
  segments_BT: Array | None
  segments_BS: Array | None
  threshold_BH: Array | None


def make(
  forward: Callable,
  backward: Callable,
  unsupported: Callable,
  *,
  partitionable: bool = False,
) -> Backend:
  """A backend of the whole op from one of the smaller op above."""

  def whole_forward(*arrays, scale, window, prune):
    inputs = _inputs(*arrays, scale, prune)
    out_BTHD, lse_BHT, first_BHM, skipped_BH = forward(
      inputs, scale=scale, window=window, online=prune == "online"
    )
    residuals = arrays, out_BTHD, lse_BHT, first_BHM
    out = out_BTHD.astype(arrays[0].dtype), lse_BHT.swapaxes(1, 2), skipped_BH
    return out, residuals

  def whole_backward(residuals, d_outs, *, scale, window, prune):
    arrays, out_BTHD, lse_BHT, first_BHM = residuals
    log_f_BSH, segments_BS = arrays[3:]
    d_out_BTHD, d_lse_BTH, _ = d_outs
    d_lse_BHT = d_lse_BTH.swapaxes(1, 2)
    # The gradient of lse with respect to the logits is P.
    delta_BTH = (out_BTHD * d_out_BTHD.astype(jnp.float32)).sum(-1) - d_lse_BTH
    d_q, d_k, d_v, columns_BHS = backward(
      _inputs(*arrays, scale, prune),
      first_BHM,
      jnp.where(lse_BHT == -jnp.inf, 0, lse_BHT),
      delta_BTH.swapaxes(1, 2),
      d_out_BTHD,
      scale=scale,
      window=window,
    )
    d_lse_BHT = jnp.where(lse_BHT == -jnp.inf, 0, d_lse_BHT)
    d_log_f_BSH = _gradient_of_gates(columns_BHS, d_lse_BHT, segments_BS)
    d_log_f_BSH = jnp.where(log_f_BSH > gates.LEAST, d_log_f_BSH, 0)
    d_arrays = (x.astype(arrays[0].dtype) for x in (d_q, d_k, d_v))
    return (*d_arrays, d_log_f_BSH, None)

  return Backend(whole_forward, whole_backward, unsupported, partitionable)


def _inputs(q_BTHD, k_BSGD, v_BSGD, log_f_BSH, segments_BS, scale, prune):
  T, S = q_BTHD.shape[1], k_BSGD.shape[1]
  segments_BT = None
  if segments_BS is not None:
    log_f_BSH = jnp.where(segments_BS[..., None] >= 0, log_f_BSH, 0)
    segments_BT = jnp.maximum(segments_BS[:, S - T :], -1).astype(jnp.int32)
    segments_BS = jnp.where(segments_BS >= 0, segments_BS, -2)
    segments_BS = segments_BS.astype(jnp.int32)
  log_f_BHS = jnp.maximum(log_f_BSH, gates.LEAST).swapaxes(1, 2)
  high_BHS, low_BHS = gates.prefix_sums(log_f_BHS)
  return Inputs(
    q_BTHD,
    k_BSGD,
    v_BSGD,
    high_BHS,
    low_BHS,
    segments_BT,
    segments_BS,
    _threshold(q_BTHD, k_BSGD, scale, prune),
  )


def _threshold(q_BTHD, k_BSGD, scale, prune):
  if prune is None or prune == "online":
    return None
  if prune == "paper":
    bound_BH = pruning.bound(q_BTHD, k_BSGD, scale)
    return pruning.largest_threshold(bound_BH, k_BSGD.shape[1])
  B, _, H, _ = q_BTHD.shape
  return jnp.full((B, H), prune, jnp.float32)


def _gradient_of_gates(columns_BHS, d_lse_BHT, segments_BS):
  """The sum of columns less rows before each gate.

  From the last position at which no segment goes on, where the sum is 0 but for
  rounding: the first gate of a segment has a gradient of exactly 0.
  """
  S, T = columns_BHS.shape[-1], d_lse_BHT.shape[-1]
  rows_BHS = jnp.pad(d_lse_BHT, ((0, 0), (0, 0), (S - T, 0)))
  differences_BHS = columns_BHS - rows_BHS
  before = jnp.pad(differences_BHS, ((0, 0), (0, 0), (1, 0)))[..., :-1]
  if segments_BS is None:
    high, low = gates.prefix_sums(before)
    return (high + low).swapaxes(1, 2)
  positions_S = jnp.arange(S)
  goes_to_BS = jnp.maximum.accumulate(_last_of_segment(segments_BS), axis=1)
  ended_BS = jnp.pad(goes_to_BS, ((0, 0), (1, 0)))[:, :-1] < positions_S
  start_BS = jnp.maximum.accumulate(jnp.where(ended_BS, positions_S, 0), axis=1)
  high, low = gates.prefix_sums(before)
  at_start = lambda x: jnp.take_along_axis(x, start_BS[:, None], axis=2)
  sums = gates.decay(high, low, at_start(high), at_start(low))
  seen_BHS = (segments_BS >= 0)[:, None]
  return jnp.where(seen_BHS, sums, 0).swapaxes(1, 2)


def _last_of_segment(segments_BS):
  """The last position of each position's segment; of padding, its own."""

  def last(segments_S):
    order_S = jnp.argsort(segments_S, stable=True)
    sorted_S = segments_S[order_S]
    return order_S[jnp.searchsorted(sorted_S, segments_S, side="right") - 1]

  positions_S = jnp.arange(segments_BS.shape[1])
  return jnp.where(segments_BS >= 0, jax.vmap(last)(segments_BS), positions_S)
