"""Adam with one second moment for each row: rotations of columns commute."""

import jax
import jax.numpy as jnp
import optax


def scale_by_row_adam(
  b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> optax.GradientTransformation:
  """Adam whose second moment is the mean of g^2 over the last axis.

    m <- b1 m + (1 - b1) g
    v <- b2 v + (1 - b2) mean_r g^2        [..., n, 1]
    update = m / (sqrt(v) + eps)           both divided by 1 - b^t first

  For a factor A, `[n, r]`, of which only A A^T counts, A Q is as good for any
  orthogonal Q, `[r, r]`. Its gradient is G Q, so m turns along and v does not
  notice: the runs from A and A Q give the same A A^T. AdamW gives others.

  Leaves of fewer than two axes have a second moment for each entry.
  """

  def init(params):
    nu = jax.tree.map(lambda x: jnp.zeros_like(_shared(x)), params)
    zero = jnp.zeros((), jnp.int32)
    return optax.ScaleByAdamState(zero, optax.tree.zeros_like(params), nu)

  def update(updates, state, params=None):
    del params
    squares = jax.tree.map(lambda g: _shared(g**2), updates)
    mu = optax.tree.update_moment(updates, state.mu, b1, 1)
    nu = optax.tree.update_moment(squares, state.nu, b2, 1)
    count = state.count + 1
    mu_hat = optax.tree.bias_correction(mu, b1, count)
    nu_hat = optax.tree.bias_correction(nu, b2, count)
    scaled = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + eps), mu_hat, nu_hat)
    return scaled, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)


def _shared(x):
  return x if x.ndim < 2 else jnp.mean(x, axis=-1, keepdims=True)
