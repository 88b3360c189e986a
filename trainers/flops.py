"""Multiplications and additions in a program, counted from what JAX traced.

XLA's own count takes the body of a loop once, and sees nothing inside a
hand-written kernel: a model of scanned layers would seem to have one.
"""

import collections
from collections.abc import Callable, Mapping
import math
from typing import Any

import jax

from trainers import accelerators
from trainers.problem import Problem

# A backward pass has two products for each one of the forward pass.
PASSES = 3


def of_step(problem: Problem) -> Mapping[str, int]:
  """FLOPs of the model in one training step, by dtype of the operands.

  Three times those of the loss, so that what is computed twice to save memory
  counts once. What makes the batch is not counted.
  """
  params = jax.eval_shape(problem.init, jax.random.key(0))
  source = jax.eval_shape(problem.source.init, jax.random.key(0))
  batch, _ = jax.eval_shape(problem.source.next, source)
  step = jax.ShapeDtypeStruct((), "int32")
  loss = lambda params, batch, key, step: problem.loss(
    params, batch, key=key, step=step
  )
  counted = count(loss, params, batch, jax.random.key(0), step)
  return {dtype: PASSES * flops for dtype, flops in counted.items()}


def count(fn: Callable, *args: Any) -> Mapping[str, int]:
  """FLOPs of the matrix products and convolutions of a function, by dtype.

  A loop of unknown length counts as one turn, and a branch as its longest.
  """
  # As for a CPU, where every op is plain XLA that can be looked into.
  with jax.default_device("cpu"):
    return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def ideal_step_seconds(problem: Problem, mesh: jax.sharding.Mesh) -> float:
  """Time of a step on a mesh at its peak; 0, uncounted, where not known."""
  kind = mesh.devices.flat[0].device_kind
  if accelerators.find(kind) is None:
    return 0.0
  return ideal_seconds(of_step(problem), kind) / mesh.size


def ideal_seconds(flops: Mapping[str, int], device_kind: str) -> float:
  """Time of one device at its peak; 0 where that is not known."""
  known = accelerators.find(device_kind)
  if known is None or not flops.keys() <= known.peaks.keys():
    return 0.0
  return sum(n / known.peaks[dtype] for dtype, n in flops.items())


def _count(jaxpr: Any) -> collections.Counter:
  total = collections.Counter()
  for eqn in jaxpr.eqns:
    if eqn.primitive.name in _COST:
      dtype = str(eqn.invars[0].aval.dtype)
      total[dtype] += _COST[eqn.primitive.name](eqn)
    inside = [_count(x) for x in _inside(eqn)]
    if eqn.primitive.name == "cond":
      inside = [max(inside, key=lambda x: x.total())]
    for part in inside:
      for dtype, flops in part.items():
        total[dtype] += flops * eqn.params.get("length", 1)
  return total


def _inside(eqn):
  """The programs within an operation: of a loop, a branch, a call."""
  for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=_program):
    if _program(value):
      yield getattr(value, "jaxpr", value)


def _program(value):
  return hasattr(getattr(value, "jaxpr", value), "eqns")


def _dot(eqn) -> int:
  (contracted, _), _ = eqn.params["dimension_numbers"]
  shape = eqn.invars[0].aval.shape
  return 2 * eqn.outvars[0].aval.size * math.prod(shape[i] for i in contracted)


def _convolution(eqn) -> int:
  kernel = eqn.invars[1].aval
  outputs = kernel.shape[eqn.params["dimension_numbers"].rhs_spec[0]]
  return 2 * eqn.outvars[0].aval.size * kernel.size // outputs


_COST = {"dot_general": _dot, "conv_general_dilated": _convolution}
