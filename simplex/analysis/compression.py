"""How well a model compresses bytes, position by position."""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from simplex.types import Array


def bits(
  logits_fn: Callable[[Array], Array],
  windows_NS: Array,
  *,
  batch_size: int = 64,
) -> Array:
  """Bits that each token costs, given the tokens before it in its window.

  `-log2 softmax(logits_t)[x_{t+1}]`; a uniform guess costs `log2 V`.

  Args:
    logits_fn: `tokens_BT -> logits_BTV`, causal.
    windows_NS: integer tokens, S = T + 1 of them in a window.
    batch_size: windows that the model sees at once.

  Returns:
    `[N, T]`, float32; column t is about token t + 1 of the window.
  """
  chex.assert_rank(windows_NS, 2)

  def one_batch(windows_BS):
    logits_BTV = logits_fn(windows_BS[:, :-1]).astype(jnp.float32)
    logp_BTV = jax.nn.log_softmax(logits_BTV)
    return jnp.take_along_axis(logp_BTV, windows_BS[:, 1:, None], axis=-1)

  N, S = windows_NS.shape
  count = -(-N // batch_size)
  padded = jnp.pad(
    jnp.asarray(windows_NS, jnp.int32), ((0, count * batch_size - N), (0, 0))
  )
  # A batch has windows from all over, so that windows that are split over
  # devices make batches that are.
  windows_nBS = padded.reshape(batch_size, count, S).swapaxes(0, 1)
  logp_nBT1 = jax.lax.map(one_batch, windows_nBS)
  logp_NT = logp_nBT1.swapaxes(0, 1).reshape(-1, S - 1)
  return -logp_NT[:N] / jnp.log(2.0)


def steps_to_reach(steps_N: Array, losses_N: Array, target: float) -> float:
  """The first step at which a loss curve is at or below `target`.

  Args:
    steps_N: increasing steps.
    losses_N: the loss at each of them.
    target: in the unit of the losses.

  Returns:
    The step, interpolated linearly between measurements; infinity if the
    curve never gets there.
  """
  chex.assert_equal_shape([steps_N, losses_N])
  reached = [i for i, loss in enumerate(losses_N) if loss <= target]
  if not reached:
    return float("inf")
  i = reached[0]
  if i == 0:
    return float(steps_N[0])
  drop = (losses_N[i - 1] - target) / (losses_N[i - 1] - losses_N[i])
  return float(steps_N[i - 1] + drop * (steps_N[i] - steps_N[i - 1]))
