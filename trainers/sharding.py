"""Where arrays live: batches over `data`, layers over `model`, both by rules.

A mesh always has both axes. Models know of neither: a parameter is placed by
its path, and the optimiser's copies of it, whose paths end alike, with it.
"""

from collections.abc import Sequence
import functools
import math
import re
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P
import numpy as np

from simplex.types import Batch, Params, Source
from trainers.problem import Problem, TrainState

AXES = ("data", "model")
MIN_SHARDED_SIZE = 2**16  # elements; below it a copy is cheaper than a gather

# The last axes of what a path names, in order; the first rule that is found in
# it counts. What reads the residual stream is split by columns and what writes
# to it by rows, so that a layer sums over `model` twice (Shoeybi et al. 2019,
# https://arxiv.org/abs/1909.08053). The other axis is split over `data` while
# nothing is computed (ZeRO, Rajbhandari et al. 2019).
COLUMNS, ROWS = P("data", "model"), P("model", "data")
RULES = (
  (r"/(query|key|value)[a-z_0-9]*/kernel$", COLUMNS),
  (r"/(up|gate|out_gate|forget|head)/kernel$", COLUMNS),
  (r"/(out|down)/kernel$", ROWS),
  (r"/embed/embedding$", ROWS),
)


def make_mesh(
  model: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """All devices, or those given, `model` of them for each part of a batch.

  Raises:
    ValueError: their number is not a multiple of `model`.
  """
  devices = jax.devices() if devices is None else devices
  count = len(devices)
  if model < 1 or count % model:
    divisors = [n for n in range(1, count + 1) if count % n == 0]
    raise ValueError(
      f"{model} does not divide the {count} devices; use one of {divisors}"
    )
  shape, kinds = (count // model, model), (AxisType.Auto,) * 2
  return jax.make_mesh(shape, AXES, kinds, devices=devices)


def ambient_mesh() -> Mesh:
  """The mesh of the `jax.set_mesh` around the caller, or else `make_mesh()`.

  Raises:
    ValueError: that mesh has other axes.
  """
  mesh = jax.sharding.get_mesh()
  if mesh.empty:
    return make_mesh()
  if mesh.axis_names != AXES or set(mesh.axis_types) != {AxisType.Auto}:
    raise ValueError(f"{mesh} has not the axes {AXES}, both of type Auto")
  return mesh


def of_state(shapes: TrainState, mesh: Mesh) -> TrainState:
  """A sharding for every array of a train state, given its shapes.

  An axis that a rule splits but that does not divide stays whole. What is
  small is not split over `data`; what is large, and is not by a rule, is split
  over it along the largest axis that divides. A source is split along its
  leading axis when all its arrays share one: it then consists of independent
  groups.
  """
  return jax.tree.map_with_path(
    lambda path, x: NamedSharding(mesh, _spec(path, x.shape, mesh)), shapes
  )._replace(source=_leading_axis(shapes.source, mesh))


def _spec(path: Any, shape: tuple[int, ...], mesh: Mesh) -> P:
  stacked = _stacked(path, shape)
  spec = [None] * stacked + list(_rule(path, shape))
  divides = lambda i, axis: shape[i] % mesh.shape[axis] == 0
  spec = [x if x and divides(i, x) else None for i, x in enumerate(spec)]
  if math.prod(shape) < MIN_SHARDED_SIZE:
    return P(*(None if x == "data" else x for x in spec))
  free = [i for i, x in enumerate(spec) if not x and divides(i, "data")]
  if free and "data" not in spec:
    spec[max(free, key=lambda i: shape[i])] = "data"
  return P(*spec)


def _rule(path: Any, shape: tuple[int, ...]) -> P:
  """What the rules say of the last axes; of all axes where there is none."""
  name = "/" + jax.tree_util.keystr(path, simple=True, separator="/")
  for pattern, spec in RULES:
    if re.search(pattern, name) and len(shape) >= len(spec):
      return spec
  return P(*[None] * len(shape))


def _stacked(path: Any, shape: tuple[int, ...]) -> int:
  """How many axes come before the ruled ones, as of scanned layers."""
  return len(shape) - len(_rule(path, shape))


def _leading_axis(shapes: Any, mesh: Mesh) -> Any:
  sizes = {x.shape[:1] for x in jax.tree.leaves(shapes)}
  split = len(sizes) == 1 and all(
    size and size[0] % mesh.shape["data"] == 0 for size in sizes
  )
  return jax.tree.map(
    lambda _: NamedSharding(mesh, P("data") if split else P()), shapes
  )


def place(problem: Problem, mesh: Mesh) -> Problem:
  """The same problem, computed where its arrays live.

  Each batch is made on the devices that train on it. Parameters that are split
  over `data` are made whole where they are used: the rows of a batch would be
  gathered instead, if it were left to the compiler.
  """

  def loss(params, batch, *, key, step):
    return problem.loss(_whole(params, mesh), batch, key=key, step=step)

  def whole_eval(fn, params, key):
    return fn(_whole(params, mesh), key)

  return Problem(
    init=problem.init,
    loss=loss,
    source=spread(problem.source, mesh),
    evals={
      name: functools.partial(whole_eval, fn)
      for name, fn in problem.evals.items()
    },
  )


def spread(source: Source, mesh: Mesh) -> Source:
  """The same source, each batch made on the devices that use it."""
  rows = NamedSharding(mesh, P("data"))

  def next_batch(state):
    batch, state = source.next(state)
    return jax.lax.with_sharding_constraint(batch, rows), state

  return Source(source.init, next_batch)


def _whole(params: Params, mesh: Mesh) -> Params:
  """Parameters that are split over `model` alone; their gradients, over both.

  A gradient is first summed whole: one of an embedding that were split at once
  would need all tokens of the batch. Scanned layers are the exception, as all
  of their gradients are much to hold, and no tokens meet them.
  """
  constrain = jax.lax.with_sharding_constraint

  def one(path, x):
    spec = _spec(path, x.shape, mesh)
    parts = NamedSharding(mesh, spec)
    whole = NamedSharding(mesh, P(*(a if a != "data" else None for a in spec)))
    summed = parts if _stacked(path, x.shape) else whole
    use = jax.custom_vjp(lambda x: constrain(x, whole))
    use.defvjp(
      lambda x: (constrain(x, whole), None),
      lambda _, d_x: (constrain(constrain(d_x, summed), parts),),
    )
    return use(x)

  return jax.tree.map_with_path(one, params)


def split(array: np.ndarray) -> jax.Array:
  """Places an array on all devices, a part of its leading axis on each.

  Where the axis does not divide among them, every device gets a copy.
  """
  mesh = ambient_mesh()
  spec = P() if array.shape[0] % mesh.size else P(AXES)
  return jax.device_put(array, NamedSharding(mesh, spec))


def check_batch(batch: Batch, mesh: Mesh, accumulate: int = 1) -> None:
  """Raises ValueError unless every microbatch divides among the devices."""
  parts = mesh.shape["data"] * accumulate
  for name, x in batch.items():
    if x.shape[0] % parts:
      raise ValueError(
        f"a batch of {x.shape[0]} ({name!r}) does not divide among "
        f"{mesh.shape['data']} devices in {accumulate} microbatches; use a "
        f"multiple of {parts}"
      )
