"""What a training run will take, from its compiled step, without a step.

The devices need not be here: see `topologies`.
"""

from collections.abc import Iterator, Mapping, Sequence
import math
import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
import numpy as np
import optax

from simplex.types import Batch
from trainers import (
  accelerators,
  collectives,
  flops,
  loop,
  sharding,
  topologies,
)
from trainers.problem import Problem, TrainState


class Leaf(NamedTuple):
  """One array of parameters; `bytes` are those on one device."""

  path: str
  shape: tuple[int, ...]
  dtype: str
  spec: str
  bytes: int


class Memory(NamedTuple):
  """Bytes on one device; `temporary` are activations and gradients."""

  parameters: int
  optimizer: int
  source: int
  temporary: int
  program: int
  rest: int

  @property
  def total(self) -> int:
    return sum(self)


class Plan(NamedTuple):
  """What is known of a step before it runs.

  Attributes:
    mesh: axes and their sizes.
    device_kind: as JAX names it.
    leaves: of the parameters.
    memory: of one device.
    capacity: bytes that a device has; None where that is not known.
    batch: name to shape.
    tokens: in a batch; 0 if it has none.
    flops: of the model in a step, on all devices, by dtype.
    compiler_flops: XLA's count on one device: the body of a loop once.
    ideal_seconds: of a step on devices at their peak; 0 where not known.
    collectives: in the compiled step.
    gathered: those of them that leave a whole batch on every device.
    seconds: that the compiler took.
  """

  mesh: Mapping[str, int]
  device_kind: str
  leaves: Sequence[Leaf]
  memory: Memory
  capacity: int | None
  batch: Mapping[str, tuple[int, ...]]
  tokens: int
  flops: Mapping[str, int]
  compiler_flops: float
  ideal_seconds: float
  collectives: Sequence[collectives.Collective]
  gathered: Sequence[collectives.Collective]
  seconds: float

  @property
  def parameters(self) -> int:
    return sum(math.prod(leaf.shape) for leaf in self.leaves)

  @property
  def whole(self) -> Sequence[Leaf]:
    """The large parameters that every device has all of."""
    return [
      leaf
      for leaf in self.leaves
      if math.prod(leaf.shape) >= sharding.MIN_SHARDED_SIZE
      and leaf.bytes == math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
    ]


def make(
  problem: Problem,
  optimizer: optax.GradientTransformation,
  config: loop.Config,
  mesh: Mesh,
) -> Plan:
  """Compiles one step for a mesh, and reads what the compiler says of it.

  Args:
    problem: what to optimise.
    optimizer: any optax transformation.
    config: as `loop.fit` is given it.
    mesh: its devices need not be here.

  Raises:
    ValueError: the batch does not divide among the devices.
  """
  run = loop.compile_run(problem, optimizer, config, mesh)
  state = run.like
  batch, _ = jax.eval_shape(problem.source.next, state.source)
  start = time.monotonic()
  with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
    lowered = run.step.lower(state)
    compiled = lowered.compile(topologies.compiler_options(mesh))
  seconds = time.monotonic() - start
  leaves = _leaves(state.params)
  found = collectives.read(compiled.as_text())
  counted = flops.of_step(problem)
  kind = mesh.devices.flat[0].device_kind
  known = accelerators.find(kind)
  return Plan(
    mesh=dict(mesh.shape),
    device_kind=kind,
    leaves=leaves,
    memory=_memory(state, compiled.memory_analysis()),
    capacity=known.memory if known else None,
    batch={name: x.shape for name, x in batch.items()},
    tokens=run.tokens,
    flops=counted,
    compiler_flops=(compiled.cost_analysis() or {}).get("flops", 0.0),
    ideal_seconds=flops.ideal_seconds(counted, kind) / mesh.size,
    collectives=found,
    gathered=collectives.whole_batches(
      found,
      _row_shapes(batch, config.accumulate, state.source),
      _shapes_of_parameters(state),
    ),
    seconds=seconds,
  )


def _row_shapes(
  batch: Batch, accumulate: int, source: Any
) -> Iterator[tuple[int, ...]]:
  """Of the batch, its microbatches, and banks of rows that it is drawn from."""
  for x in batch.values():
    B, *rest = x.shape
    yield from ((B, *rest), (B // accumulate, *rest))
  for x in jax.tree.leaves(source):
    if x.ndim > 2 and x.size >= sharding.MIN_SHARDED_SIZE:
      G, N, *rest = x.shape
      yield (G * N, *rest)


def _shapes_of_parameters(state: TrainState) -> Iterator[tuple[int, ...]]:
  """Whole, split, and of one of several scanned layers."""
  for x in jax.tree.leaves(state.params):
    spec = [axis if axis == "model" else None for axis in x.sharding.spec]
    in_use = jax.NamedSharding(x.sharding.mesh, jax.P(*spec))
    parts = (in_use.shard_shape(x.shape), x.sharding.shard_shape(x.shape))
    for shape in (x.shape, *parts):
      yield shape
      yield shape[1:]


def _leaves(params: Any) -> Sequence[Leaf]:
  return [
    Leaf(
      jax.tree_util.keystr(path, simple=True, separator="/"),
      x.shape,
      str(x.dtype),
      str(tuple(x.sharding.spec)).replace("'", ""),
      _bytes(x),
    )
    for path, x in jax.tree.leaves_with_path(params)
  ]


def _memory(state: Any, stats: Any) -> Memory:
  parts = (state.params, state.opt_state, state.source)
  sizes = [sum(map(_bytes, jax.tree.leaves(part))) for part in parts]
  # The new state takes the place of the old one, as far as it can.
  arguments = stats.argument_size_in_bytes - sum(sizes)
  outputs = stats.output_size_in_bytes - stats.alias_size_in_bytes
  return Memory(
    *sizes,
    temporary=stats.temp_size_in_bytes,
    program=stats.generated_code_size_in_bytes,
    rest=max(arguments, 0) + max(outputs, 0),
  )


def _bytes(x: jax.ShapeDtypeStruct) -> int:
  """On one device."""
  return math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize
