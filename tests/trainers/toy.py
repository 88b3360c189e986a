"""A problem small enough to compile in no time: a noisy linear regression."""

import jax
import jax.numpy as jnp

from simplex.data import sources
from trainers.problem import Problem

WIDTH = 4


def problem(batch_size: int = 8, break_at: tuple[int, ...] = ()) -> Problem:
  """Fits `y = sum(x)`; the loss turns to NaN in the steps `break_at`."""

  def sample(key):
    x_E = jax.random.normal(key, (WIDTH,))
    return {"x": x_E, "y": x_E.sum()}

  def loss(params, batch, *, key, step):
    error_B = batch["x"] @ params["w"] - batch["y"]
    noise = 0.1 * jax.random.normal(key)  # shows that keys resume too
    value = jnp.mean((error_B + noise) ** 2)
    for broken in break_at:
      value = value * jnp.where(step == broken, jnp.nan, 1.0)
    return value, {"error": jnp.abs(error_B).max()}

  def distance(params, key):
    del key
    return {"distance": jnp.abs(params["w"] - 1).max()}

  return Problem(
    init=lambda key: {"w": jax.random.normal(key, (WIDTH,))},
    loss=loss,
    source=sources.from_sampler(sample, batch_size),
    evals={"truth": distance},
  )
