"""An adapter is a few functions on parameter trees, and what all share.

Every adapter here changes kernels `K`, `[d_in, d_out]`, by a product of two
thin matrices, so that a layer can use it without ever forming the product:

  x (K + L R^T) = x K + (x L) R^T
"""

from collections.abc import Callable, Mapping
import math
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.adapters import paths, targets
from simplex.types import Array, Key, Params


class Factors(NamedTuple):
  """The change of one kernel `[..., d_in, d_out]`, scale and ramp included.

  Attributes:
    left: L, `[..., d_in, r]`.
    right: R, `[..., d_out, r]`.
    magnitude: `[..., d_out]`, the norms that the columns of `K + L R^T` are set
      to, as in DoRA; None leaves them.
  """

  left: Array
  right: Array
  magnitude: Array | None = None


class Adapter(NamedTuple):
  """How to make and apply trainable changes to frozen parameters.

  Parameters are frozen by training the adapter alone: `base` is an argument of
  a loss whose gradient is taken for `adapter`. The empty adapter `{}` disables
  all changes.

  Attributes:
    init: `(key, base) -> adapter`, a tree of arrays.
    merge: `(base, adapter, step) -> params`, in the shapes and dtypes of
      `base`. `step` counts optimiser steps, and may be traced.
    factors: `(base, adapter, step) -> {path: Factors}`, what `merge` adds.
  """

  init: Callable[[Key, Params], Any]
  merge: Callable[[Params, Any, Array | int], Params]
  factors: Callable[[Params, Any, Array | int], dict[str, Factors]]


def make(
  init: Callable[[Key, Params], Any],
  factors: Callable[[Params, Any, Array | int], dict[str, Factors]],
) -> Adapter:
  """The adapter whose merge follows from its factors."""

  def merge(base, adapter, step):
    changes = factors(base, adapter, step)
    kernels = paths.pick(base, changes)
    changed = {p: change(kernels[p], f) for p, f in changes.items()}
    return paths.place(base, changed)

  return Adapter(init, merge, factors)


def of_matrices(
  config: targets.Config,
  init: Callable[[Key, Array, int], Any],
  factors: Callable[[Any, Array, Array | int], Factors],
) -> Adapter:
  """The adapter that treats every target by itself: a dict of its paths.

  Args:
    config: the targets.
    init: `(key, kernel, rank) -> leaf`.
    factors: `(leaf, kernel, step) -> Factors`, not yet scaled by alpha / r.
  """

  def init_all(key, base):
    chosen = targets.select(config, base)
    keys = jax.random.split(key, len(chosen))
    return {
      path: init(key, kernel, targets.rank(config, path))
      for key, (path, kernel) in zip(keys, chosen.items(), strict=True)
    }

  def factors_of_all(base, adapter, step):
    found = {}
    for path, kernel in paths.pick(base, adapter).items():
      f = factors(adapter[path], kernel, step)
      chex.assert_axis_dimension(f.left, -1, targets.rank(config, path))
      found[path] = f._replace(right=targets.gain(config, path) * f.right)
    return found

  return make(init_all, factors_of_all)


def chain(adapters: Mapping[str, Adapter]) -> Adapter:
  """Several adapters at once, by name: their changes add up.

  The adapter is `{name: tree}`; a name that is left out is disabled. The sum
  has one pair of factors for each kernel, with the ranks added.

  Raises:
    ValueError: on use, when a tree has an unknown name, or two adapters change
      one kernel and one of them sets magnitudes, which does not add up.
  """

  def init(key, base):
    keys = jax.random.split(key, len(adapters))
    return {
      name: one.init(key, base)
      for key, (name, one) in zip(keys, adapters.items(), strict=True)
    }

  def factors(base, adapter, step):
    joined = {}
    for name, tree in adapter.items():
      if name not in adapters:
        raise ValueError(f"adapter={name!r} is not one of {sorted(adapters)}")
      for path, f in adapters[name].factors(base, tree, step).items():
        joined[path] = _join(path, joined[path], f) if path in joined else f
    return joined

  return make(init, factors)


def change(kernel: Array, factors: Factors) -> Array:
  """The changed kernel, in its own dtype: `K + L R^T`, formed."""
  left, right, magnitude = factors
  wide = jnp.promote_types(kernel.dtype, left.dtype)
  changed = kernel.astype(wide) + left @ right.mT
  if magnitude is not None:
    changed *= rescaling(kernel, factors)[..., None, :]
  return changed.astype(kernel.dtype)


def project(
  x: Array,
  kernel: Array,
  factors: Factors,
  *,
  dropout: float = 0.0,
  key: Key | None = None,
) -> Array:
  """`x` times the changed kernel, by thin products alone.

  Args:
    x: `[..., d_in]`.
    kernel: one matrix `[d_in, d_out]`; of a stack, take it in a scan or `vmap`.
    factors: of that matrix.
    dropout: probability that an entry of `x` is hidden from the change (not
      from the kernel), in [0, 1).
    key: of the dropout; None is no dropout, as after training.

  Returns:
    `[..., d_out]`, in the dtype of `x @ kernel`.

  Raises:
    ValueError: `dropout` is outside its range.
  """
  if not 0 <= dropout < 1:
    raise ValueError(f"{dropout=} is not in [0, 1)")
  chex.assert_rank([kernel, factors.left, factors.right], 2)
  seen = x
  if key is not None:
    kept = jax.random.bernoulli(key, 1 - dropout, x.shape)
    seen = jnp.where(kept, x / (1 - dropout), 0)
  y = x @ kernel
  left, right = (z.astype(y.dtype) for z in factors[:2])
  y += (seen @ left) @ right.mT
  if factors.magnitude is not None:
    y *= rescaling(kernel, factors).astype(y.dtype)
  return y


def rescaling(kernel: Array, factors: Factors) -> Array:
  """`[..., d_out]`, the magnitudes over the norms of columns of `K + L R^T`.

  The norms are constants to the gradient, as in DoRA (section 4.3), and found
  without forming the product. A column of zeros stays one.
  """
  left, right, magnitude = factors
  kernel = kernel.astype(jnp.promote_types(kernel.dtype, left.dtype))
  mixed = kernel.mT @ left + 0.5 * right @ (left.mT @ left)
  squares = jnp.sum(kernel**2, -2) + 2 * jnp.sum(mixed * right, -1)
  tiny = jnp.finfo(squares.dtype).tiny
  return magnitude / jax.lax.stop_gradient(jnp.sqrt(jnp.maximum(squares, tiny)))


def uniform(
  key: Key, kernel: Array, shape: tuple[int, int], variance: float = 1 / 3
) -> Array:
  """Initial entries `[..., n, r]` of a stack like the kernel's.

  Their variance is `variance / n`. By n, not by r: see `singlora`. 1/3 is the
  law of PEFT's `lora_A`, between -1/sqrt(n) and 1/sqrt(n).
  """
  shape = (*kernel.shape[:-2], *shape)
  init = jax.nn.initializers.variance_scaling(
    variance, "fan_in", "uniform", batch_axis=range(len(shape) - 2)
  )
  return init(key, shape, jnp.promote_types(kernel.dtype, jnp.float32))


def count(adapter: Any) -> int:
  """Trainable parameters of an adapter; shapes suffice (`jax.eval_shape`)."""
  return sum(math.prod(x.shape) for x in jax.tree.leaves(adapter))


def _join(path, one, two):
  if one.magnitude is not None or two.magnitude is not None:
    raise ValueError(
      f"two adapters change {path!r} and one sets magnitudes: put dora around "
      "the chain"
    )
  join = lambda x, y: jnp.concatenate((x, y), axis=-1)
  return Factors(join(one.left, two.left), join(one.right, two.right))
