"""Finds the block sizes of the GPU kernels that are fastest on this device.

One kernel at a time, each candidate is measured in the whole op, all else being
what the table says. What is found becomes the entry of this device in the
`size_table.py` of the op, which is written again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
import functools
import importlib
import pathlib
import textwrap
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from launch import timing
from simplex.kernels import backend
from simplex.kernels.triton_sizes import Sizes
from trainers import files

KERNELS = ("forward", "backward_q", "backward_kv")
BYTES = 2  # of bfloat16


class Problem(NamedTuple):
  """What the kernels of an op are tuned for.

  Attributes:
    case: arguments of `sizes.case_of` after the kernel and its bytes.
    static: settings of the op's backends.
    shapes: of its arrays of bfloat16: queries, then keys and values.
    gates: shape of its log gates; None for an op without.
    segments: how many arrays of segments it takes; there are none.
  """

  case: tuple
  static: Mapping[str, Any]
  shapes: Sequence[tuple[int, ...]]
  gates: tuple[int, ...] | None
  segments: int


def _simplicial(D: int, heads: int) -> Problem:
  q, key = (1, 2048, 64, D), (1, 2048, 64 // heads, D)
  spans = (31, 0), (511, 0)
  static = {"scale": D**-0.5, "form": "trilinear", "spans": spans}
  return Problem((D, True, heads), static, (q, *[key] * 4), None, 3)


def _forgetting(D: int) -> Problem:
  q = (1, 8192, 16, D)
  static = {"scale": D**-0.5, "window": q[1], "prune": None}
  return Problem((D,), static, (q, q, q), q[:3], 1)


# Other cases keep their sizes.
OPS = {
  "simplicial_attention": (
    _simplicial(64, 64),
    _simplicial(128, 64),
    _simplicial(64, 1),
    _simplicial(128, 1),
  ),
  "forgetting_attention": (_forgetting(64), _forgetting(128)),
}

Table = Mapping[str, Mapping[tuple, tuple[int, ...]]]


def run(device: str) -> Iterator[dict]:
  """Rows: the milliseconds of every candidate; writes the tables."""
  for op, problems in OPS.items():
    sizes, found = module(op, "sizes"), {}
    for problem in problems:
      for kernel in KERNELS:
        case = sizes.case_of(kernel, BYTES, *problem.case)
        best, rows = fastest(
          case,
          sizes.candidates(case),
          functools.partial(_measure, op, problem, case),
        )
        yield from ({"op": op} | row for row in rows)
        if best is not None:
          found[tuple(case)] = tuple(best)
    table = dict(sizes.TABLE)
    table[device] = dict(table.get(device, {})) | found
    files.write_atomic(path(op), source(table, sizes.Case._fields))


def module(op: str, name: str) -> ModuleType:
  """A module of the folder of an op."""
  return importlib.import_module(f"simplex.kernels.{op}.{name}")


def path(op: str) -> pathlib.Path:
  """Where the sizes of an op are."""
  return pathlib.Path(module(op, "size_table").__file__)


def fastest(
  case: tuple,
  candidates: Sequence[Sizes],
  measure: Callable[[Sizes], float],
) -> tuple[Sizes | None, list[dict]]:
  """The best candidate of a case, or None, and a row for each.

  Args:
    case: what is tuned.
    candidates: sizes to measure.
    measure: seconds with sizes; raises a JaxRuntimeError for sizes that do not
      fit on the device.
  """
  seconds, rows = {}, []
  for size in candidates:
    row = {"name": str(tuple(case)), **size._asdict()}
    try:
      seconds[size] = measure(size)
    except jax.errors.JaxRuntimeError as error:
      rows.append(row | {"missing": str(error).partition("\n")[0]})
    else:
      rows.append(row | {"ms": 1e3 * seconds[size]})
  return min(seconds, key=seconds.get, default=None), rows


def source(table: Table, fields: Sequence[str]) -> str:
  """The text of a `size_table.py` with cases of these fields."""
  text = textwrap.fill(
    f"A case is `({', '.join(fields)})` or the beginning of one, and sizes are "
    f"`({', '.join(Sizes._fields)})`: see `sizes`. Entries of devices that "
    "were not tuned are compiled for, not measured.",
    width=80,
  )
  lines = [
    '"""Block sizes by device and case; written by the tuning command.',
    "",
    "python -m launch.benchmark --tune",
    "",
    text,
    '"""',
    "",
    "TABLE = {",
  ]
  for device, entries in table.items():
    lines.append(f'  "{device}": {{')
    for case, size in entries.items():
      words = ", ".join(
        f'"{x}"' if isinstance(x, str) else str(x) for x in case
      )
      lines.append(f"    ({words}): {tuple(size)},")
    lines.append("  },")
  return "\n".join([*lines, "}", ""])


def _measure(op: str, problem: Problem, case: tuple, size: Sizes) -> float:
  """Seconds of the op, with its gradients unless only the forward counts."""
  fn = bind(op, problem, case, size)
  arrays = inputs(problem)
  if case.kernel != "forward":
    forward = fn
    fn = lambda *xs: jax.vjp(forward, *xs)[1](xs[0])
  call = functools.partial(jax.jit(fn), *arrays)
  return timing.medians({"op": call}, rounds=3)["op"]


def bind(op: str, problem: Problem, case: tuple, size: Sizes) -> Callable:
  """The op of its arrays with a size for one case, and the table's for all."""
  gpu_triton = module(op, "gpu_triton")
  choose = lambda other: size if other == case else gpu_triton.of_table(other)
  fn = backend.bind(gpu_triton.make(choose), **problem.static)
  segments = [None] * problem.segments
  return lambda *arrays: fn(*arrays, *segments)[0]


def inputs(problem: Problem) -> list[jax.Array]:
  """Random arrays of a problem; gates that forget within a few tokens."""
  keys = jax.random.split(jax.random.key(0), len(problem.shapes) + 1)
  arrays = [
    jax.random.normal(key, shape, jnp.bfloat16)
    for key, shape in zip(keys[1:], problem.shapes, strict=True)
  ]
  if problem.gates is not None:
    logits = jax.random.normal(keys[0], problem.gates)
    arrays.append(jax.nn.log_sigmoid(logits))
  return arrays
