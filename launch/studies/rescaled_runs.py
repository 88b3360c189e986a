"""Training at a temperature, beside its exact twin at T = 1."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.analysis import softmax_rank
from simplex.types import Array, Key, Params
from trainers import scan
from trainers.problem import Problem

TEMPERATURE = 50.0
# Small enough that 300 steps do not make rounding errors large.
SGD, ADAM, EPSILON = 0.3, 1e-3, 1e-8


def differences(
  problem: Callable[[Array], Problem],
  logits: Callable[[Params], Array],
  *,
  num_kernels: int,
  num_steps: int,
  key: Key,
) -> dict[str, float]:
  """Largest difference of z / T and its twin's z, over max |z / T|.

  To be called where 64 bits are enabled; see `softmax_rank.rescaling`.

  Args:
    problem: what to train at a temperature, which is traced.
    logits: of the trained parameters.
    num_kernels: L, the degree of the network in its kernels.
    num_steps: updates.
    key: decides kernels and batches, of both runs.

  Returns:
    One number for "SGD" and one for "Adam".
  """
  same = softmax_rank.rescaling(TEMPERATURE, num_kernels)

  def difference(make, rate, twin_rate):
    @jax.jit
    def run(temperature, scale, rate):
      plain = problem(temperature)
      # In 64 bits before they are scaled, lest that rounds.
      init = lambda key: jax.tree.map(
        lambda kernel: kernel.astype(np.float64) * scale, plain.init(key)
      )
      fitted = plain._replace(init=init)
      state, _, _ = scan.fit(fitted, make(*rate), key, num_steps)
      return logits(state.params) / temperature

    first, second = (
      run(TEMPERATURE, 1.0, rate),
      run(1.0, same.kernels, twin_rate),
    )
    return float(jnp.abs(first - second).max() / jnp.abs(first).max())

  adam = lambda rate, epsilon: optax.adam(rate, eps=epsilon)
  twin = (ADAM * same.adam, EPSILON * same.adam_epsilon)
  return {
    "SGD": difference(optax.sgd, (SGD,), (SGD * same.sgd,)),
    "Adam": difference(adam, (ADAM, EPSILON), twin),
  }
