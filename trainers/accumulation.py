"""A sum of losses whose gradient is taken piece by piece."""

from collections.abc import Callable
import functools
from typing import Any

import jax
import jax.numpy as jnp

from simplex.types import Array, Params


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def total(
  fn: Callable[[Params, Any], tuple[Array, Any]], params: Params, pieces: Any
) -> tuple[Array, Any]:
  """Sums a loss over pieces of a batch, in the memory of one piece.

  The gradient of a sum over `lax.map` goes through all pieces and then back
  through all; here it goes through and back for each, so that what is kept
  between is small: on a CPU it stays in the cache.

  Args:
    fn: `(params, piece) -> (loss, metrics)`; both are summed.
    params: what the gradient is for. There is none for the pieces.
    pieces: a tree of arrays; their leading axis runs over the pieces.

  Returns:
    The sum of the losses and of the metrics.
  """
  values = jax.lax.map(functools.partial(fn, params), pieces)
  return jax.tree.map(lambda x: jnp.sum(x, axis=0), values)


def _forward(fn, params, pieces):
  gradient = jax.value_and_grad(fn, has_aux=True)

  def add(sums, piece):
    return jax.tree.map(jnp.add, sums, gradient(params, piece)), None

  first = jax.tree.map(lambda x: x[0], pieces)
  zeros = jax.tree.map(
    lambda x: jnp.zeros(x.shape, x.dtype),
    jax.eval_shape(gradient, params, first),
  )
  (values, grads), _ = jax.lax.scan(add, zeros, pieces)
  return values, grads


def _backward(fn, grads, d_values):
  del fn
  return jax.tree.map(lambda grad: grad * d_values[0], grads), None


total.defvjp(_forward, _backward)
