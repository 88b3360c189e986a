"""What the forget gates of a trained model do, and what they spare."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from simplex import kernels
from simplex.kernels.forgetting_attention import gates, pruning
from simplex.models import transformer
from simplex.types import Array, Params

# Logs of the weight that a row may lose.
LOG_EPSILON = np.arange(-20.0, 0.0, 2.0)


def _taps(cfg: transformer.Config, params: Params, tokens_NT: Array):
  """Queries, keys and log gates of all layers, each `[L, N, T, ...]`."""
  _, state = transformer.Transformer(cfg).apply(
    params, jnp.asarray(tokens_NT, jnp.int32), mutable=["intermediates"]
  )
  queries, keys, log_gates = [], [], []
  for path, x in jax.tree_util.tree_leaves_with_path(state["intermediates"]):
    names = [getattr(part, "key", getattr(part, "idx", None)) for part in path]
    if "log_gates" in names:
      log_gates.append(x if cfg.scan_layers else x[None])
    elif "query_and_keys" in names:
      (keys if names[-1] else queries).append(x if cfg.scan_layers else x[None])
  return tuple(map(jnp.concatenate, (queries, keys, log_gates)))


def look(cfg: transformer.Config, block: int, tokens_NT: Array, params: Params):
  """Gates of heads, and what leaving out the forgotten spares and loses.

  Args:
    cfg: of a model with data-dependent gates.
    block: queries and keys in a block, a divisor of T.
    tokens_NT: texts.
    params: of the model.

  Returns:
    The mean gate of each head, `[L, H]`, sorted in each layer; for each of
    `LOG_EPSILON` the fraction of blocks that the published rule spares and the
    most weight that a row loses by it; the fraction that the op spares, online.
  """
  q_LNTHD, k_LNTGD, log_f_LNTH = _taps(cfg, params, tokens_NT)
  means_LH = jnp.sort(jnp.exp(log_f_LNTH).mean((1, 2)), axis=-1)
  spare = functools.partial(_spare, block)
  spared, lost, online = jax.lax.map(
    lambda xs: spare(*xs), (q_LNTHD, k_LNTGD, log_f_LNTH)
  )
  return means_LH, spared.mean(0), lost.max(0), online.mean()


def _spare(block: int, q_NTHD: Array, k_NTGD: Array, log_f_NTH: Array):
  """For each of `LOG_EPSILON`: fraction of blocks spared and weight lost.

  And the fraction that the kernel spares by itself.
  """
  T, D = q_NTHD.shape[1], q_NTHD.shape[-1]
  scale = D**-0.5
  high, low = gates.prefix_sums(log_f_NTH.swapaxes(1, 2))
  bound_NH = pruning.bound(q_NTHD, k_NTGD, scale)
  first_blocks = functools.partial(
    pruning.first_blocks,
    high,
    low,
    T=T,
    window=T,
    block_q=block,
    block_k=block,
  )
  lowest = first_blocks(None)
  last = pruning.last_blocks(T, T, block, block)
  forgotten_NHMC = _forgotten(block, q_NTHD, k_NTGD, high, low)

  def one(log_epsilon):
    first = first_blocks(pruning.largest_threshold(bound_NH, T, log_epsilon))
    lost = jnp.take_along_axis(forgotten_NHMC, first[..., None], axis=-1)
    return pruning.skipped(first, lowest, last).mean(), lost.max()

  spared, lost = jax.vmap(one)(jnp.asarray(LOG_EPSILON))
  walked = kernels.forgetting_attention_with_statistics(
    q_NTHD, k_NTGD, k_NTGD, log_f_NTH, prune="online"
  )
  return spared, lost, walked.skipped_BH.mean()


def _weights(q_NbHD: Array, k_NTGD: Array, decay_NHbT: Array, seen_bT: Array):
  """Weights of attention of some queries, `[N, H, b, T]`."""
  H, D = q_NbHD.shape[2:]
  k_NTHD = jnp.repeat(k_NTGD, H // k_NTGD.shape[2], axis=2)
  logits_NHbT = jnp.einsum("NbHD,NTHD->NHbT", q_NbHD, k_NTHD) * D**-0.5
  logits_NHbT += jnp.where(seen_bT, decay_NHbT, 0)
  return jax.nn.softmax(jnp.where(seen_bT, logits_NHbT, -jnp.inf))


def _forgotten(block: int, q_NTHD: Array, k_NTGD: Array, high, low) -> Array:
  """The most weight that a row of a block has in the blocks before each.

  Returns:
    `[N, H, M, C]`: for M blocks of queries and the first C = 0, 1, ... blocks
    of keys.
  """
  T = q_NTHD.shape[1]
  cut = functools.partial(jax.lax.dynamic_slice_in_dim, slice_size=block)

  def one(start):
    decay_NHbT = gates.decay(
      cut(high, start, axis=2)[..., None],
      cut(low, start, axis=2)[..., None],
      high[:, :, None],
      low[:, :, None],
    )
    seen_bT = start + jnp.arange(block)[:, None] >= jnp.arange(T)
    weights_NHbT = _weights(
      cut(q_NTHD, start, axis=1), k_NTGD, decay_NHbT, seen_bT
    )
    ends_NHbT = jnp.cumsum(weights_NHbT, axis=-1)[..., block - 1 :: block]
    return jnp.pad(ends_NHbT.max(2), ((0, 0), (0, 0), (1, 0)))

  return jnp.moveaxis(jax.lax.map(one, jnp.arange(0, T, block)), 0, 2)


def pictures(cfg: transformer.Config, bytes_T: Array, params: Params):
  """What the heads of the smallest and the largest mean gate do on a text.

  Returns:
    Name of a head to two matrices, `[T, T]`: by how much its gates have faded
    each key, and the weight of the key.
  """
  q, k, log_f = (x[:, 0] for x in _taps(cfg, params, bytes_T[None]))
  means_LH = np.exp(log_f).mean(1)
  T, H = log_f.shape[1:]
  heads = {}
  for kind, at in (("short", means_LH.argmin()), ("long", means_LH.argmax())):
    layer, head = divmod(int(at), H)
    high, low = gates.prefix_sums(log_f[layer, None].swapaxes(1, 2))
    decay_1HTT = gates.decay(
      high[..., None], low[..., None], high[..., None, :], low[..., None, :]
    )
    seen_TT = jnp.tril(jnp.ones((T, T), bool))
    weights = _weights(q[layer][None], k[layer][None], decay_1HTT, seen_TT)
    faded_TT = jnp.where(seen_TT, jnp.exp(decay_1HTT[0, head]), 0)
    name = f"a head of {kind} memory (layer {layer + 1}, head {head + 1})"
    heads[name] = np.asarray(faded_TT), np.asarray(weights[0, head])
  return heads
