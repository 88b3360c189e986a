"""Finds the block sizes of the GPU kernels that are fastest on this device.

One kernel at a time, each candidate is measured in the whole op, all else being
what the table says. What is found becomes the entry of this device in
`simplex/kernels/simplicial_attention/size_table.py`, which is written again.
"""

from collections.abc import Callable, Iterator, Mapping
import functools
import pathlib

import jax
import jax.numpy as jnp

from launch import timing
from simplex.kernels import backend
from simplex.kernels.simplicial_attention import (
  gpu_triton,
  size_table,
  sizes,
)
from trainers import files

PATH = pathlib.Path(size_table.__file__)
KERNELS = ("forward", "backward_q", "backward_kv")
# Channels and heads per key head that are tuned; other cases keep their sizes.
SHAPES = ((64, 64), (128, 64), (64, 1), (128, 1))
LENGTH, WINDOWS = 2048, (32, 512)

Table = Mapping[str, Mapping[tuple, tuple[int, ...]]]


def run(device: str) -> Iterator[dict]:
  """Rows: the milliseconds of every candidate; writes the table at the end."""
  found = {}
  for D, heads in SHAPES:
    for kernel in KERNELS:
      case = sizes.case_of(kernel, 2, D, True, heads)
      best, rows = fastest(case, functools.partial(_measure, case, D, heads))
      yield from rows
      if best is not None:
        found[tuple(case)] = tuple(best)
  table = dict(size_table.TABLE)
  table[device] = dict(table.get(device, {})) | found
  files.write_atomic(PATH, source(table))


def fastest(
  case: sizes.Case, measure: Callable[[sizes.Sizes], float]
) -> tuple[sizes.Sizes | None, list[dict]]:
  """The best candidate of a case, or None, and a row for each.

  Args:
    case: what is tuned.
    measure: seconds with sizes; raises a JaxRuntimeError for sizes that do not
      fit on the device.
  """
  seconds, rows = {}, []
  for size in sizes.candidates(case):
    row = {"name": str(tuple(case)), **size._asdict()}
    try:
      seconds[size] = measure(size)
    except jax.errors.JaxRuntimeError as error:
      rows.append(row | {"missing": str(error).partition("\n")[0]})
    else:
      rows.append(row | {"ms": 1e3 * seconds[size]})
  return min(seconds, key=seconds.get, default=None), rows


def source(table: Table) -> str:
  """The text of `size_table.py`."""
  lines = [
    '"""Block sizes by device and case; written by the tuning command.',
    "",
    "python -m launch.benchmark --tune",
    "",
    "A case is `(kernel, bytes, D, plain, heads)` or the beginning of one, and",
    "sizes are `(rows, keys, warps, stages)`: see `sizes`. Entries of devices",
    "that were not tuned are compiled for, not measured.",
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


def _measure(case, D, heads, size) -> float:
  """Seconds of the op, with its gradients unless only the forward counts."""
  choose = lambda other: size if other == case else gpu_triton.of_table(other)
  w1, w2 = WINDOWS
  op = backend.bind(
    gpu_triton.make(choose),
    scale=D**-0.5,
    form="trilinear",
    spans=((w1 - 1, 0), (w2 - 1, 0)),
  )
  keys = jax.random.split(jax.random.key(0), 5)
  shapes = [(1, LENGTH, 64, D), *[(1, LENGTH, 64 // heads, D)] * 4]
  arrays = [
    jax.random.normal(key, shape, jnp.bfloat16)
    for key, shape in zip(keys, shapes, strict=True)
  ]
  fn = lambda *xs: op(*xs, None, None, None)[0]
  if case.kernel != "forward":
    forward = fn
    fn = lambda *xs: jax.vjp(forward, *xs)[1](xs[0])
  call = functools.partial(jax.jit(fn), *arrays)
  return timing.medians({"op": call}, rounds=3)["op"]
