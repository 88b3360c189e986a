"""Where arrays live: batches over `data`, large parameters over `data` too."""

import math
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from simplex.types import Batch, Source
from trainers.problem import TrainState

MIN_SHARDED_SIZE = 2**16  # elements; below it a copy is cheaper than a gather


def make_mesh() -> Mesh:
  """All devices, along the one axis `data`."""
  return jax.make_mesh((jax.device_count(),), ("data",), (AxisType.Auto,))


def of_state(shapes: TrainState, mesh: Mesh) -> TrainState:
  """A sharding for every array of a train state, given its shapes.

  Large parameters, and the optimiser's copies of them, are split along their
  largest axis that divides evenly. A source is split along its leading axis
  when all its arrays share one: it then consists of independent groups.
  """
  return jax.tree.map(lambda x: _largest_axis(x.shape, mesh), shapes)._replace(
    source=_leading_axis(shapes.source, mesh)
  )


def _largest_axis(shape: tuple[int, ...], mesh: Mesh) -> NamedSharding:
  axes = sorted(range(len(shape)), key=lambda i: -shape[i])
  fits = [i for i in axes if shape[i] % mesh.size == 0]
  if math.prod(shape) < MIN_SHARDED_SIZE or not fits:
    return NamedSharding(mesh, P())
  return NamedSharding(mesh, P(*[None] * fits[0], "data"))


def _leading_axis(shapes: Any, mesh: Mesh) -> Any:
  sizes = {x.shape[:1] for x in jax.tree.leaves(shapes)}
  split = len(sizes) == 1 and all(
    size and size[0] % mesh.size == 0 for size in sizes
  )
  return jax.tree.map(
    lambda _: NamedSharding(mesh, P("data") if split else P()), shapes
  )


def spread(source: Source, mesh: Mesh) -> Source:
  """The same source, each batch made on the devices that use it."""
  rows = NamedSharding(mesh, P("data"))

  def next_batch(state):
    batch, state = source.next(state)
    return jax.lax.with_sharding_constraint(batch, rows), state

  return Source(source.init, next_batch)


def split(array: np.ndarray) -> jax.Array:
  """Places an array on all devices, a part of its leading axis on each.

  Where the axis does not divide among them, every device gets a copy.
  """
  mesh = make_mesh()
  spec = P() if array.shape[0] % mesh.size else P("data")
  return jax.device_put(array, NamedSharding(mesh, spec))


def check_batch(batch: Batch, mesh: Mesh) -> None:
  """Raises ValueError unless the batch divides among the devices."""
  for name, x in batch.items():
    if x.shape[0] % mesh.size:
      raise ValueError(
        f"a batch of {x.shape[0]} ({name!r}) does not divide among "
        f"{mesh.size} devices; use a multiple of {mesh.size}"
      )
