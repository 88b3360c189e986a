"""One optimisation step and one evaluation, shared by every loop."""

import functools

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
  *,
  accumulate: int = 1,
) -> tuple[TrainState, Metrics]:
  """Makes a batch and moves the parameters once.

  Making the batch is part of the step, so that a generator and the model it
  feeds are one compiled program.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    state: of before the step.
    accumulate: microbatches that the batch is computed in, one after another;
      it must divide the batch. The gradient is that of the whole batch where
      the loss is a mean over examples that weigh alike; metrics are averaged.

  Returns:
    The state after the step, and the metrics of before.
  """
  batch, source = problem.source.next(state.source)
  loss, metrics, grads = _gradient(problem, state, batch, accumulate)
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


def _gradient(problem, state, batch, accumulate):
  """Loss, metrics and gradient, means over the microbatches."""
  key = jax.random.wrap_key_data(state.key)
  first = state.step * accumulate

  def add(total, now):
    i, part = now
    part_key = jax.random.fold_in(key, first + i)
    (loss, metrics), grads = jax.value_and_grad(problem.loss, has_aux=True)(
      state.params, part, key=part_key, step=state.step
    )
    return jax.tree.map(jnp.add, total, grads), (loss, metrics)

  parts = jax.tree.map(functools.partial(_split, accumulate), batch)
  zeros = jax.tree.map(jnp.zeros_like, state.params)
  total, rows = jax.lax.scan(add, zeros, (jnp.arange(accumulate), parts))
  grads = jax.tree.map(lambda x: x / accumulate, total)
  return *jax.tree.map(lambda x: x.mean(axis=0), rows), grads


def _split(accumulate, x):
  if accumulate == 1:
    return x[None]  # whole, a batch may be any tree, of scalars too
  # Every n-th row is in the same part, so that no row changes its device.
  return x.reshape(-1, accumulate, *x.shape[1:]).swapaxes(0, 1)


def evaluate(problem: Problem, state: TrainState) -> Metrics:
  """Runs every eval; metric names are prefixed by the name of their eval."""
  key = jax.random.wrap_key_data(state.key)
  return {
    f"{name}/{metric}": value
    for name, fn in problem.evals.items()
    for metric, value in fn(state.params, key).items()
  }
