"""What every op with several implementations shares.

An op is a folder; each of its implementations is a module of that folder, with
a name in `NAMES`, that can be imported anywhere and ends in
`BACKEND = Backend(...)`. Choice, gradient, sharding and `vmap` happen here.
"""

from collections.abc import Callable
import functools
import importlib
import importlib.util
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from simplex.types import Array

NAMES = ("reference", "xla", "jax_nn", "gpu_triton", "tpu_pallas")
PREFERENCE = {
  "gpu": ("gpu_triton", "jax_nn", "xla"),
  "tpu": ("tpu_pallas", "jax_nn", "xla"),
  "cpu": ("xla",),
}
BATCH_AXIS = "data"


class Backend(NamedTuple):
  """One implementation of an op.

  The arrays of an op, its output and its residuals all begin with the batch
  axis, and the rows of a batch do not meet. An array may be None.

  Attributes:
    forward: `(*arrays, **static) -> (out, residuals)`.
    backward: `(residuals, d_out, **static) -> d_arrays`, with None for an array
      that has no gradient; or None when JAX can differentiate `forward`.
    unsupported: `(*arrays, **static) -> str | None`, why it cannot run here.
    partitionable: whether XLA and `vmap` can see through `backward`. A kernel
      behind a custom call is not: it runs on each shard of the batch, and a
      mapped axis is folded into the batch.
  """

  forward: Callable
  backward: Callable | None
  unsupported: Callable
  partitionable: bool = False


def platform() -> str:
  """The platform programs are compiled for: "cpu", "gpu" or "tpu".

  That of the default device, if there is one; else that of the mesh around,
  whose devices need not be here.
  """
  device = jax.config.jax_default_device
  device = device or jax.sharding.get_abstract_mesh().abstract_device
  return getattr(device, "platform", device) or jax.default_backend()


def call(
  package: str, implementation: str | None, *arrays: Array | None, **static
) -> Array:
  """Runs the op in `package` on the first implementation that supports it.

  Args:
    package: the op's folder, as a dotted name.
    implementation: the only one to try; None tries those of `PREFERENCE`.
    *arrays: the op's arrays; every one begins with the batch axis.
    **static: hashable settings of the op.

  Returns:
    What `Backend.forward` returns first.

  Raises:
    ValueError: the op has no such implementation.
    NotImplementedError: none of those tried can run; the message says why.
  """
  reasons = []
  for name in _candidates(package, implementation):
    backend = importlib.import_module(f"{package}.{name}").BACKEND
    reason = backend.unsupported(*arrays, **static)
    if reason is None:
      return bind(backend, **static)(*arrays)
    reasons.append(f"{name}: {reason}")
  op = package.rpartition(".")[2]
  reasons = "; ".join(reasons) or f"nothing for {platform()!r}"
  raise NotImplementedError(f"{op} cannot run here: {reasons}")


@functools.cache
def available(package: str) -> tuple[str, ...]:
  """The names in `NAMES` for which the op in `package` has a module."""
  found = lambda name: importlib.util.find_spec(f"{package}.{name}")
  return tuple(name for name in NAMES if found(name))


def _candidates(package: str, implementation: str | None) -> tuple[str, ...]:
  allowed = available(package)
  if implementation is None:
    preferred = PREFERENCE.get(platform(), ("xla",))
    return tuple(name for name in preferred if name in allowed)
  if implementation not in allowed:
    raise ValueError(
      f"{implementation=} is not None or one of {sorted(allowed)}"
    )
  return (implementation,)


@functools.cache
def bind(backend: Backend, **static) -> Callable:
  """The op of one backend: static arguments bound, with its gradient."""
  forward = functools.partial(backend.forward, **static)
  if backend.backward is None:
    return lambda *arrays: forward(*arrays)[0]

  backward = functools.partial(backend.backward, **static)
  if not backend.partitionable:
    # Inside the gradient, so that neither is ever transposed.
    forward = _folding_vmap(_per_shard(forward))
    backward = _folding_vmap(_per_shard(backward))

  op = jax.custom_vjp(lambda *arrays: forward(*arrays)[0])
  op.defvjp(forward, backward)
  return op


def _per_shard(fn: Callable) -> Callable:
  """Runs `fn` on each shard of the batch, where the mesh has a batch axis.

  XLA cannot partition a custom call: without this it gathers the whole batch on
  every device first. A batch that the axis does not divide is computed whole
  by every device. Axes other than the batch axis repeat the work.
  """

  def sharded(*args):
    mesh = jax.sharding.get_abstract_mesh()
    free = set(mesh.axis_names) - set(mesh.manual_axes)
    if BATCH_AXIS not in free:
      return fn(*args)
    batch_size = jax.tree.leaves(args)[0].shape[0]
    divides = batch_size % mesh.shape[BATCH_AXIS] == 0
    spec = P(BATCH_AXIS) if divides else P()
    return jax.shard_map(
      fn, in_specs=spec, out_specs=spec, axis_names=free, check_vma=False
    )(*args)

  return sharded


def _folding_vmap(fn: Callable) -> Callable:
  """Makes `vmap` of `fn` one call of `fn` on a larger batch."""
  op = jax.custom_batching.custom_vmap(fn)

  @op.def_vmap
  def fold(axis_size, in_batched, *args):
    def inner(x, batched):
      # The batch stays outermost, so that folding moves nothing across shards.
      x = x if batched else jnp.broadcast_to(x, (axis_size, *x.shape))
      x = jnp.moveaxis(x, 0, 1)
      return x.reshape(x.shape[0] * axis_size, *x.shape[2:])

    def outer(x):
      x = x.reshape(x.shape[0] // axis_size, axis_size, *x.shape[1:])
      return jnp.moveaxis(x, 1, 0)

    out = jax.tree.map(outer, op(*jax.tree.map(inner, args, tuple(in_batched))))
    return out, jax.tree.map(lambda _: True, out)

  return op
