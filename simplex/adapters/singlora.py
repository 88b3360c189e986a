"""SingLoRA: a low-rank change from one matrix (Bensaid et al. 2025).

https://arxiv.org/abs/2507.05566, section 4.
"""

import chex
import jax.numpy as jnp

from simplex.adapters import adapter, targets
from simplex.types import Array


def singlora(
  config: targets.Config,
  num_steps: int,
  *,
  ramp: float = 0.01,
  variance: float = 1 / 3,
) -> adapter.Adapter:
  """Adds `alpha / r * u(t) * A[:d_in] A[:d_out]^T` to each target.

  The tree is `{path: A}`, with A of `[..., max(d_in, d_out), r]`. For
  a square kernel that is the paper's A A^T, symmetric and positive
  semi-definite; for others its rectangular form, either way round.

  The start is the base though A is not 0, for u(0) = 0. There the gradient is 0
  as well: a loss should be given the number of the update it is for, which
  starts at 1. What a step is, is up to the caller; the paper's are optimiser
  steps, so that accumulating gradients does not change the ramp.

  A starts with variance `variance / max(d_in, d_out)`. The paper says Kaiming;
  with r for the fan-in, as initialisers of `[out, in]` layouts have it, A A^T
  would be larger than the kernel by an order of magnitude or two.

  Args:
    config: the targets.
    num_steps: of the run.
    ramp: T over `num_steps`, in [0, 1]; T is at least one step.
    variance: of entries of A, times n; the paper leaves the factor open.

  Raises:
    ValueError: `num_steps` or `ramp` is outside its range.
  """
  if num_steps < 1:
    raise ValueError(f"{num_steps=} is not at least 1")
  if not 0 <= ramp <= 1:
    raise ValueError(f"{ramp=} is not in [0, 1]")
  ramp_steps = max(ramp * num_steps, 1.0)

  def init(key, kernel, rank):
    return adapter.uniform(
      key, kernel, (max(kernel.shape[-2:]), rank), variance
    )

  def factors(leaf, kernel, step):
    *stack, d_in, d_out = kernel.shape
    chex.assert_shape(leaf, (*stack, max(d_in, d_out), leaf.shape[-1]))
    right = share(step, ramp_steps) * leaf[..., :d_out, :]
    return adapter.Factors(leaf[..., :d_in, :], right)

  return adapter.of_matrices(config, init, factors)


def share(step: Array | int, ramp_steps: float) -> Array:
  """The ramp `u(t) = min(t / T, 1)`, in [0, 1]."""
  return jnp.minimum(step / ramp_steps, 1.0)
