"""A whole training run inside one compiled scan, and many such runs at once."""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.types import Key, Metrics
from trainers import distributed, sharding
from trainers.problem import Problem, TrainState
from trainers.step import evaluate, init_state, train_step


def fit(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  key: Key,
  num_steps: int,
  *,
  eval_every: int | None = None,
  accumulate: int = 1,
) -> tuple[TrainState, Metrics, Metrics]:
  """Trains for `num_steps` with no disk and no clock.

  For runs over seeds see `sweep`.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    key: decides the initial parameters, the data and the noise.
    num_steps: updates.
    eval_every: steps between evaluations, a divisor of `num_steps`; None
      evaluates at the start and at the end only.
    accumulate: microbatches of a step; see `train_step`.

  Returns:
    The final state; the metrics of every step, stacked, `[num_steps]`; the
    evals of steps `0, eval_every, ..., num_steps`, stacked.

  Raises:
    ValueError: `eval_every` does not divide `num_steps`.
  """
  eval_every = eval_every or num_steps
  if num_steps % eval_every:
    raise ValueError(f"{eval_every=} does not divide {num_steps=}")
  step_fn = functools.partial(
    train_step, problem, optimizer, accumulate=accumulate
  )

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


def sweep(
  run: Callable[..., Any], settings: Any, *shared: Any, at_once: int = 1
) -> Any:
  """Calls `run` for each setting, in one program, split over the devices.

  Args:
    run: a pure function of one setting, such as
      `lambda key: scan.fit(problem, optimizer, key, num_steps)`.
    settings: a tree of arrays; their leading axis runs over the settings.
    *shared: more arguments of `run`, the same for every setting. What `run`
      closes over is written into the program, which large arrays must not be.
    at_once: settings that a device computes together, by `vmap`. More keep an
      accelerator busy; on a CPU, one is fastest for all but tiny models.

  Returns:
    The results, stacked in the order of the settings, on the host.
  """
  mesh = sharding.ambient_mesh()
  (count,) = {x.shape[0] for x in jax.tree.leaves(settings)}
  # The last devices may have to repeat a setting, so that all get as many.
  order = np.arange(-(-count // mesh.size) * mesh.size) % count
  # A batch of one would still be a `vmap`, which a CPU is slower at.
  batch_size = at_once if at_once > 1 else None
  many = jax.shard_map(
    lambda xs, *shared: jax.lax.map(
      lambda x: run(x, *shared), xs, batch_size=batch_size
    ),
    mesh=mesh,
    in_specs=(jax.P(sharding.AXES), *(jax.P() for _ in shared)),
    out_specs=jax.P(sharding.AXES),
    check_vma=False,
  )
  results = jax.jit(many)(jax.tree.map(lambda x: x[order], settings), *shared)
  return jax.tree.map(lambda x: x[:count], distributed.to_host(results))
