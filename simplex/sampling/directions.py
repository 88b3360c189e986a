"""Directions in parameter space, and how log-probabilities change along them.

What antidistillation sampling stands on (Savani et al. 2025,
https://arxiv.org/abs/2504.13146): the gradient of a held-out loss, and the
derivative of every log-probability along it. Trees of parameters in float32 or
less; a direction has the same leaves.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import flatten_util
from jax.extend import core
import jax.numpy as jnp

from simplex.types import Array, Batch, Key, Params


def mean_gradient(
  total_fn: Callable[[Params, Batch], tuple[Array, Array]],
  params: Params,
  batches: Batch,
) -> tuple[Array, Params]:
  """The mean loss over all tokens of all batches, and its gradient.

  Sums are accumulated and divided once, in float32, so that neither the split
  into batches nor the number of devices matters; a mean of the means of batches
  with unequal numbers of tokens would depend on both.

  Args:
    total_fn: `(params, batch) -> (loss summed over tokens, their number)`; of
      held-out traces, the tokens of the prompts masked.
    params: of the proxy student, not yet distilled.
    batches: arrays whose leading axis runs over the batches.
  """

  def add(so_far, batch):
    (total, count), gradient = jax.value_and_grad(total_fn, has_aux=True)(
      params, batch
    )
    new = (total, count, gradient)
    return jax.tree.map(lambda x, y: x + y.astype(jnp.float32), so_far, new), ()

  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.float32), params)
  zero = jnp.zeros((), jnp.float32)
  (total, count, gradient), _ = jax.lax.scan(add, (zero, zero, zeros), batches)
  return total / count, jax.tree.map(lambda x: x / count, gradient)


def norm(direction: Params) -> Array:
  """Euclidean length over all leaves, a scalar."""
  squares = jax.tree.map(lambda x: jnp.sum(jnp.square(x)), direction)
  return jnp.sqrt(jax.tree.reduce(jnp.add, squares))


def normalized(direction: Params) -> Params:
  """The direction at length 1; NaN where it has none."""
  length = norm(direction)
  return jax.tree.map(lambda x: x / length, direction)


def random_like(key: Key, direction: Params) -> Params:
  """A Gaussian direction, each leaf as long as that of `direction`.

  The control that tells what the gradient adds to mere disturbance.
  """
  flat, unravel = flatten_util.ravel_pytree(direction)
  noise = unravel(jax.random.normal(key, flat.shape, flat.dtype))
  rescale = lambda x, d: x * (norm(d) / norm(x)).astype(x.dtype)
  return jax.tree.map(rescale, noise, direction)


def moved(params: Params, direction: Params, epsilon: float | Array) -> Params:
  """`params + epsilon direction`, rounded once to the dtype of `params`."""
  return jax.tree.map(
    lambda x, d: (x.astype(jnp.float32) + epsilon * d).astype(x.dtype),
    params,
    direction,
  )


def derivative(
  fn: Callable[[Params], Any],
  params: Params,
  direction: Params,
  *,
  has_aux: bool = False,
) -> tuple:
  """`fn(params)` and its exact derivative along a direction, in one pass.

  Args:
    fn: differentiable in forward mode.
    params: the point, any tree of floats.
    direction: of the same structure; cast to the dtypes of `params`.
    has_aux: whether `fn` returns a pair whose second part has no derivative; it
      is then returned third.

  Raises:
    NotImplementedError: `fn` has a gradient that is written by hand, which JAX
      cannot push forward.
  """
  if _has_own_gradient(jax.make_jaxpr(fn)(params).jaxpr):
    raise NotImplementedError(
      "the model has no forward-mode derivative, as a kernel in it has a "
      "gradient written by hand: give the model implementation='reference', "
      "or use finite differences"
    )
  direction = jax.tree.map(lambda d, x: d.astype(x.dtype), direction, params)
  return jax.jvp(fn, (params,), (direction,), has_aux=has_aux)


def _has_own_gradient(jaxpr) -> bool:
  """JAX itself says so only as it compiles, and not where."""
  return any(
    equation.primitive.name.startswith("custom_vjp")
    or any(map(_has_own_gradient, core.jaxprs_in_params(equation.params)))
    for equation in jaxpr.eqns
  )


def difference(
  fn: Callable[[Params], Array],
  params: Params,
  direction: Params,
  epsilon: float | Array,
) -> Array:
  """The central difference that the paper takes for the derivative (eq. 10).

  `(fn(params + epsilon d) - fn(params - epsilon d)) / (2 epsilon)`, in float32.
  """
  at = lambda step: fn(moved(params, direction, step)).astype(jnp.float32)
  # In turn: compiled once, and one copy of the parameters at a time.
  above, below = jax.lax.map(at, jnp.array([1.0, -1.0]) * epsilon)
  return (above - below) / (2 * epsilon)


def sine(x: Array, y: Array) -> Array:
  """|sin| of the angle between two arrays, in [0, 1]: the paper's Fig. 7.

  1 where one of them is 0. From what is left of one after its projection on the
  other, which float32 resolves down to 1e-7; one minus the square of the cosine
  would stop at 3e-4.
  """
  x, y = x.astype(jnp.float32), y.astype(jnp.float32)
  x_size, y_size = jnp.linalg.norm(x), jnp.linalg.norm(y)
  is_angle = (x_size > 0) & (y_size > 0)
  x, y = (a / jnp.where(is_angle, n, 1) for a, n in ((x, x_size), (y, y_size)))
  return jnp.where(is_angle, jnp.linalg.norm(x - jnp.vdot(x, y) * y), 1)


class Calibration(NamedTuple):
  """The best epsilon, and the errors |sin| of all that were tried, `[N]`."""

  epsilon: Array
  errors_N: Array


def calibrate(
  exact: Array,
  fn: Callable[[Params], Array],
  params: Params,
  direction: Params,
  epsilons_N: Array,
) -> Calibration:
  """The epsilon whose finite difference is nearest to the exact derivative.

  The best one depends on the dtype: the smaller the number of digits, the
  larger the step that shows above rounding.

  Args:
    exact: the derivative, in float32, of the same shape as `fn(params)`.
    fn: log-probabilities, in the dtype that is to be sampled with.
    params: in that dtype.
    direction: as in the exact derivative.
    epsilons_N: steps to try.
  """
  error = lambda epsilon: sine(
    difference(fn, params, direction, epsilon), exact
  )
  errors_N = jax.lax.map(error, jnp.asarray(epsilons_N))
  return Calibration(jnp.asarray(epsilons_N)[jnp.argmin(errors_N)], errors_N)


def weight_of_nats(
  nats: float | Array,
  delta_NV: Array,
  *,
  mask_N: Array | None = None,
  share: float = 0.99,
) -> Array:
  """The lambda at which `lambda |Delta|` reaches so many nats.

  Lambda itself has the unit of one over a squared gradient and says nothing
  about another model; nats do.

  Args:
    nats: the penalty wanted.
    delta_NV: derivatives on a batch, any shape.
    mask_N: which of their leading entries count, bool; None is all.
    share: the quantile of `|Delta|` that is meant.

  Raises:
    ValueError: share is not in (0, 1].
  """
  if not 0 < share <= 1:
    raise ValueError(f"share={share} is not in (0, 1]")
  size_NV = jnp.abs(delta_NV)
  if mask_N is not None:
    size_NV = jnp.where(mask_N[..., None], size_NV, jnp.nan)
  return nats / jnp.nanquantile(size_NV, share)
