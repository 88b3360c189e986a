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
BATCH_AXIS, HEADS_AXIS = "data", "model"


class Backend(NamedTuple):
  """One implementation of an op.

  The arrays of an op, its output and its residuals all begin with the batch
  axis, and the rows of a batch do not meet. An array may be None. Arrays of
  more than two axes have heads as their third, and an output as its third or
  last; heads meet where they share a key head.

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
      return _on_mesh(backend, arrays, static)
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


def _on_mesh(backend, arrays, static):
  """Runs the op, its heads split over the axis of the mesh that is for them.

  Each part has the key heads that it reads, and an axis of its own after that
  of the batch: merged with the batch here, XLA would move rows for it.
  """
  parts = 1 if _is_transparent(backend) else _parts_of_heads(arrays)
  if parts == 1:
    return bind(backend, **static)(*arrays)

  def separate(x):
    if x.ndim < 3:
      return jnp.repeat(x[:, None], parts, axis=1)
    x = jnp.repeat(x, max(1, parts // x.shape[2]), axis=2)
    x = x.reshape(*x.shape[:2], parts, -1, *x.shape[3:])
    return jnp.moveaxis(x, 2, 1)

  def join(x):
    heads = min(x.ndim - 2, 2)
    x = jnp.moveaxis(x, 1, heads)
    return x.reshape(*x.shape[:heads], -1, *x.shape[heads + 2 :])

  op = bind(backend, (BATCH_AXIS, HEADS_AXIS), **static)
  return jax.tree.map(join, op(*jax.tree.map(separate, arrays)))


def _is_transparent(backend):
  """Whether XLA can partition the op itself."""
  return backend.backward is None or backend.partitionable


def _parts_of_heads(arrays):
  """How many parts the mesh around asks for; 1 if the heads do not divide."""
  parts = _free_axes().get(HEADS_AXIS, 1)
  heads = [x.shape[2] for x in arrays if x is not None and x.ndim > 2]
  fits = all(n % parts == 0 or parts % n == 0 for n in heads)
  return parts if heads and fits and max(heads) % parts == 0 else 1


def _free_axes():
  """The axes of the mesh around that no shard_map has taken, with sizes."""
  mesh = jax.sharding.get_abstract_mesh()
  free = set(mesh.axis_names) - set(mesh.manual_axes)
  return {name: mesh.shape[name] for name in free}


@functools.cache
def bind(
  backend: Backend, axes: tuple[str, ...] = (BATCH_AXIS,), **static
) -> Callable:
  """The op of one backend: static arguments bound, with its gradient.

  Its arrays begin with as many axes of rows as there are `axes` of the mesh to
  split them over.
  """
  forward = functools.partial(backend.forward, **static)
  if backend.backward is None:
    return lambda *arrays: forward(*arrays)[0]

  backward = functools.partial(backend.backward, **static)
  if not _is_transparent(backend):
    # Inside the gradient, so that neither is ever transposed.
    forward = _folding_vmap(_per_shard(forward, axes))
    backward = _folding_vmap(_per_shard(backward, axes))

  op = jax.custom_vjp(lambda *arrays: forward(*arrays)[0])
  op.defvjp(forward, backward)
  return op


def _per_shard(fn: Callable, axes: tuple[str, ...]) -> Callable:
  """Runs `fn` on each shard of the rows, where the mesh has such axes.

  XLA cannot partition a custom call: without this it gathers the whole batch on
  every device first. Rows that an axis does not divide are computed whole by
  all along it. Axes other than these repeat the work.
  """

  def local(*args):
    sizes = jax.tree.leaves(args)[0].shape[: len(axes)]
    merge = lambda x: x.reshape(-1, *x.shape[len(axes) :])
    split = lambda x: x.reshape(*sizes, *x.shape[1:])
    return jax.tree.map(split, fn(*jax.tree.map(merge, args)))

  def sharded(*args):
    free = _free_axes()
    if not free.keys() & set(axes):
      return local(*args)
    sizes = jax.tree.leaves(args)[0].shape
    divides = lambda name, size: name in free and size % free[name] == 0
    pairs = zip(axes, sizes, strict=False)
    spec = P(*(name if divides(name, size) else None for name, size in pairs))
    return jax.shard_map(
      local,
      in_specs=spec,
      out_specs=spec,
      axis_names=set(free),
      check_vma=False,
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
