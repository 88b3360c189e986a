"""Steps whose loss or update is not finite, undone and counted."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from simplex.types import Metrics
from trainers.problem import TrainState

Step = Callable[[TrainState], tuple[TrainState, Metrics]]


def undo_broken(step_fn: Step) -> Step:
  """The same step, but one that breaks leaves parameters and optimizer alone.

  The batch that broke it is not tried again. Adds to the metrics "skipped",
  the steps undone so far, and "skipped_in_a_row", those since the last good
  one.
  """

  def step(state):
    new, metrics = step_fn(state)
    good = jnp.isfinite(metrics["loss"]) & jnp.isfinite(metrics["update_norm"])
    total, in_a_row = state.skipped
    skipped = jnp.stack([total + ~good, jnp.where(good, 0, in_a_row + 1)])
    keep = lambda new, old: jax.tree.map(
      lambda x, y: jnp.where(good, x, y), new, old
    )
    state = new._replace(
      params=keep(new.params, state.params),
      opt_state=keep(new.opt_state, state.opt_state),
      skipped=skipped,
    )
    counts = {"skipped": skipped[0], "skipped_in_a_row": skipped[1]}
    return state, {**metrics, **counts}

  return step
