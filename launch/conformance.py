"""Every implementation of every op against float64, on the device that is here.

Errors are relative, in the L2 norm, the largest of the values and the largest
of the gradients. The same call must give the same bits twice. Ops are called as
their public functions call them, after the checks.
"""

from collections.abc import Callable, Iterator, Mapping
import functools
import importlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.kernels import backend
from simplex.types import Array

# dtype: largest relative error of values and of gradients.
TOLERANCES = {"float32": (2e-6, 1e-5), "bfloat16": (1e-2, 2e-2)}


class Case(NamedTuple):
  """A call of an op: its settings, and the sizes of its arrays.

  Attributes:
    static: settings of the op's backends.
    B: batch.
    T: queries.
    S: keys.
    H: heads.
    G: key heads.
    D: width of a head.
    magnitude: of queries, keys and values; 2 concentrates the softmax.
    segments: whether short sequences are packed.
  """

  static: Mapping[str, Any]
  B: int = 2
  T: int = 144
  S: int = 144
  H: int = 8
  G: int = 2
  D: int = 64
  magnitude: float = 1.0
  segments: bool = False


class Op(NamedTuple):
  """How many keys and values an op takes, segments, and its cases.

  An op with gates has the logs of those of each query head after its values.
  """

  num_keys: int
  num_segments: int
  cases: Mapping[str, Case]
  has_gates: bool = False


def _causal(window: int | None = None) -> dict[str, Any]:
  return {"scale": 0.125, "causal": True, "window": window}


def _forgetting(window: int = 200) -> dict[str, Any]:
  return {"scale": 0.125, "window": window, "prune": None}


def _spans(w1: int, w2: int, form: str = "trilinear") -> dict[str, Any]:
  spans = (w1 - 1, 0), (w2 - 1, 0)
  return {"scale": 0.125, "spans": spans, "form": form}


OPS = {
  "dot_product_attention": Op(
    num_keys=2,
    num_segments=1,
    cases={
      "causal": Case(_causal()),
      "window": Case(_causal(33), T=96, H=4, G=4, D=128),
      "segments": Case(_causal(), segments=True),
    },
  ),
  "forgetting_attention": Op(
    num_keys=2,
    num_segments=1,
    has_gates=True,
    cases={
      "causal": Case(_forgetting()),
      "window": Case(_forgetting(33), T=96, H=4, G=4, D=128),
      "concentrated": Case(_forgetting(), magnitude=2.0),
      "segments": Case(_forgetting(), segments=True),
      "one key head": Case(_forgetting(), B=1, S=200, G=1, D=128),
      "odd": Case(_forgetting(), T=65, S=129, H=2, G=1, D=16),
    },
  ),
  "simplicial_attention": Op(
    num_keys=4,
    num_segments=3,
    cases={
      "trilinear": Case(_spans(32, 100)),
      "long first": Case(_spans(100, 32)),
      "concentrated": Case(_spans(32, 100), magnitude=2.0),
      "one key head": Case(_spans(17, 65), B=1, H=64, G=1, D=128),
      "as many key heads": Case(_spans(32, 100), H=4, G=4),
      "determinant": Case(_spans(80, 16, "determinant"), T=96, D=48),
      "rotary": Case(
        {"scale": 0.125, "spans": ((9, 8), (70, 69)), "form": "rotary"}
      ),
      "strassen": Case(_spans(31, 144, "strassen"), segments=True),
    },
  ),
}


def run() -> Iterator[dict]:
  """Rows: errors of every implementation, or why it cannot run here."""
  for name, op in OPS.items():
    for case in op.cases:
      for dtype in TOLERANCES:
        yield from rows_of(name, case, dtype)


def rows_of(op: str, case: str, dtype: str) -> Iterator[dict]:
  """Rows of one call of an op."""
  package = f"simplex.kernels.{op}"
  static = dict(OPS[op].cases[case].static)
  floats, segments = _arrays(OPS[op], OPS[op].cases[case], dtype)
  forward = importlib.import_module(f"{package}.reference").forward
  exact = in_float64(lambda *xs: forward(*xs, *segments, **static)[0], *floats)
  for name in backend.available(package):
    call = lambda *xs, name=name: backend.call(
      package, name, *xs, *segments, **static
    )
    fn = jax.jit(functools.partial(value_and_grads, call))
    row = {"op": op, "case": case, "dtype": dtype, "implementation": name}
    try:
      found = fn(*floats)
    except NotImplementedError as error:
      yield row | {"missing": str(error)}
      continue
    errors = relative_errors(found, exact)
    near = all(e <= t for e, t in zip(errors, TOLERANCES[dtype], strict=True))
    bits = [jax.tree.map(np.asarray, x) for x in (found, fn(*floats))]
    same = all(jax.tree.leaves(jax.tree.map(np.array_equal, *bits)))
    row |= dict(zip(("error", "gradient error"), errors, strict=True))
    yield row | {"repeats": same, "passes": near and same}


def value_and_grads(op: Callable, *arrays: Array):
  """The value, and the gradients of a fixed projection of it."""
  out, vjp = jax.vjp(op, *arrays)
  # Exact in every dtype, so that no rounding of it is counted as an error.
  quarters = lambda x: np.random.default_rng(9).integers(-8, 9, x.shape) / 4
  return out, vjp(
    jax.tree.map(lambda x: jnp.asarray(quarters(x), x.dtype), out)
  )


def relative_errors(found: Any, exact: Any) -> tuple[float, float]:
  """Largest relative L2 errors of the values and of the gradients."""

  def error(x, y):
    x, y = (np.asarray(z, np.float64) for z in (x, y))
    # Where the exact value is 0, so must be the other.
    return float(np.linalg.norm(x - y) / (np.linalg.norm(y) or 1.0))

  return tuple(
    max(map(error, jax.tree.leaves(xs), jax.tree.leaves(ys)))
    for xs, ys in zip(found, exact, strict=True)
  )


def in_float64(op: Callable, *floats: Array):
  """`value_and_grads` of an op that keeps float64, on the host."""
  with (
    jax.enable_x64(True),
    jax.default_device(jax.local_devices(backend="cpu")[0]),
  ):
    wide = [np.asarray(x, np.float64) for x in floats]
    fn = jax.jit(functools.partial(value_and_grads, op))
    return jax.tree.map(np.asarray, fn(*wide))


def _arrays(op: Op, case: Case, dtype: str):
  """Random queries, keys and values, and the segments or None of each axis."""
  rng = np.random.default_rng(0)
  query = (case.B, case.T, case.H, case.D)
  key = (case.B, case.S, case.G, case.D)
  floats = [
    jnp.asarray(case.magnitude * rng.normal(size=shape), dtype)
    for shape in (query, *[key] * op.num_keys)
  ]
  if op.has_gates:
    logits_BSH = rng.normal(2, 1, size=(case.B, case.S, case.H))
    floats.append(jax.nn.log_sigmoid(jnp.asarray(logits_BSH, jnp.float32)))
  if not case.segments:
    return floats, [None] * op.num_segments
  segments_S = np.arange(case.S) // 50
  segments_BS = jnp.asarray(np.tile(segments_S, (case.B, 1)), jnp.int32)
  of_queries = [segments_BS[:, case.S - case.T :]] * (op.num_segments > 1)
  of_keys = [segments_BS] * (op.num_segments - len(of_queries))
  return floats, [*of_queries, *of_keys]
