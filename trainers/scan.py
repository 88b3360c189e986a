"""A whole training run inside one compiled scan, to be vmapped over runs."""

import functools

import jax
import jax.numpy as jnp
import optax

from simplex.types import Key, Metrics
from trainers.problem import Problem, TrainState
from trainers.step import evaluate, init_state, train_step


def fit(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  key: Key,
  num_steps: int,
  *,
  eval_every: int | None = None,
) -> tuple[TrainState, Metrics, Metrics]:
  """Trains for `num_steps` with no disk and no clock.

  For a sweep over seeds:
  `jax.vmap(lambda key: scan.fit(problem, optimizer, key, n))(keys)`.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    key: decides the initial parameters, the data and the noise.
    num_steps: updates.
    eval_every: steps between evaluations, a divisor of `num_steps`; None
      evaluates at the start and at the end only.

  Returns:
    The final state; the metrics of every step, stacked, `[num_steps]`; the
    evals of steps `0, eval_every, ..., num_steps`, stacked.

  Raises:
    ValueError: `eval_every` does not divide `num_steps`.
  """
  eval_every = eval_every or num_steps
  if num_steps % eval_every:
    raise ValueError(f"{eval_every=} does not divide {num_steps=}")
  step_fn = functools.partial(train_step, problem, optimizer)

  def chunk(state, _):
    evals = evaluate(problem, state)
    state, metrics = jax.lax.scan(
      lambda state, _: step_fn(state), state, length=eval_every
    )
    return state, (metrics, evals)

  state = init_state(problem, optimizer, key)
  state, (metrics, evals) = jax.lax.scan(
    chunk, state, length=num_steps // eval_every
  )
  metrics = {name: x.reshape(num_steps) for name, x in metrics.items()}
  last = evaluate(problem, state)
  evals = {
    name: jnp.concatenate([x, jnp.asarray(last[name])[None]])
    for name, x in evals.items()
  }
  return state, metrics, evals
