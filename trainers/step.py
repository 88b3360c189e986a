"""One optimisation step and one evaluation, shared by every loop."""

import jax
import jax.numpy as jnp
import optax

from simplex.types import Key, Metrics
from trainers.problem import Problem, TrainState


def init_state(
  problem: Problem, optimizer: optax.GradientTransformation, key: Key
) -> TrainState:
  """The state before the first step."""
  params_key, source_key, loop_key = jax.random.split(key, 3)
  params = problem.init(params_key)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    key=jax.random.key_data(loop_key),
    params=params,
    opt_state=optimizer.init(params),
    source=problem.source.init(source_key),
    skipped=jnp.zeros(2, jnp.int32),
  )


def train_step(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  state: TrainState,
) -> tuple[TrainState, Metrics]:
  """Makes a batch and moves the parameters once.

  Making the batch is part of the step, so that a generator and the model it
  feeds are one compiled program.
  """
  batch, source = problem.source.next(state.source)
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)

  def loss_fn(params):
    return problem.loss(params, batch, key=key, step=state.step)

  (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(
    state.params
  )
  updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
  metrics = {
    "loss": loss,
    "grad_norm": optax.tree.norm(grads),
    "update_norm": optax.tree.norm(updates),
    **metrics,
  }
  return state._replace(
    step=state.step + 1,
    params=optax.apply_updates(state.params, updates),
    opt_state=opt_state,
    source=source,
  ), metrics


def evaluate(problem: Problem, state: TrainState) -> Metrics:
  """Runs every eval; metric names are prefixed by the name of their eval."""
  key = jax.random.wrap_key_data(state.key)
  return {
    f"{name}/{metric}": value
    for name, fn in problem.evals.items()
    for metric, value in fn(state.params, key).items()
  }
