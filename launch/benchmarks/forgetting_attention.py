"""Forgetting attention with and without pruning, beside ordinary attention.

Gates are drawn from logits of several means, with a standard deviation of 1:
the higher the mean, the longer a head remembers, and the less can be left out.
Rows of one length and width are measured in turns, so that their ratios hold.
Useful operations are those of all causal pairs, P = T (T + 1) / 2 for each
head: 4 D P forward (two products of matrices), 14 D P with the backward pass
(five more); so a pass that leaves out keys may go beyond the peak of a device.
Sizes that would take this device minutes are left out and say so.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from launch import timing
from simplex import kernels
from simplex.types import Array
from trainers import figures as plots
from trainers.figures import Series
from trainers.reports import Figure


class Size(NamedTuple):
  """A problem: length and width of a head."""

  T: int
  D: int


class Variant(NamedTuple):
  """An op, a rule that prunes, and the mean of the logits of the gates."""

  op: str
  prune: str | None = None
  mean: float | None = None


SIZES = tuple(Size(1024 * 2**n, D) for n in range(7) for D in (64, 128))
HEADS = {"cpu": 4, "gpu": 16, "tpu": 16}
MEANS = (0.0, 2.0, 4.0)
# Without pruning, the gates do not change the time.
VARIANTS = (
  Variant("forgetting_attention", None, 2.0),
  *(
    Variant("forgetting_attention", rule, mean)
    for mean in MEANS
    for rule in ("paper", "online")
  ),
  Variant("dot_product_attention, jax_nn"),
  Variant("dot_product_attention, xla"),
)
PLAIN = VARIANTS[0]
# Of one pass, forward and backward, that is still measured.
MOST_FLOPS = {"cpu": 2.5e11, "gpu": 1e16, "tpu": 1e15}


class Pass(NamedTuple):
  """A compiled call, the bytes of its temporaries and what it skipped."""

  call: Callable
  memory: int
  skipped: float | None


def flops(size: Size, heads: int, backward: bool) -> float:
  """Operations of all causal pairs."""
  pairs = heads * size.T * (size.T + 1) / 2
  return (14 if backward else 4) * size.D * pairs


def run() -> list[dict]:
  """Rows with milliseconds, TFLOP/s, memory and what is skipped."""
  return [row for size in SIZES for row in rows_of(size)]


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
  """Time against length: forward and backward, D 64."""
  wanted = [
    row
    for row in rows
    if "ms" in row and row["pass"] != "forward" and row["D"] == 64
  ]
  series = {}
  for name in dict.fromkeys(_label(row) for row in wanted):
    points = [(r["T"], r["ms"]) for r in wanted if _label(r) == name]
    series[name] = Series(*zip(*points, strict=True))
  if not series:
    return []
  return [
    plots.lines(
      "Time of forgetting attention",
      series,
      xlabel="length",
      ylabel="ms, forward and backward",
      log_x=True,
      log_y=True,
      caption="Heads of width 64. The mean is that of the logits of the gates.",
    )
  ]


def rows_of(size: Size) -> list[dict]:
  """Rows of one size: two passes of each variant that can run."""
  platform = jax.default_backend()
  heads = HEADS[platform]
  work = flops(size, heads, backward=True)
  if work > MOST_FLOPS[platform]:
    reason = f"{work:.2g} FLOP are too many for a {platform}"
    return [{"T": size.T, "D": size.D, "missing": reason}]
  rows = []
  for backward in (False, True):
    passes, missing = {}, {}
    for variant in VARIANTS:
      try:
        passes[variant] = _compiled(size, heads, variant, backward)
      except NotImplementedError as error:
        missing[variant] = str(error)
    timed = {variant: x.call for variant, x in passes.items()}
    seconds = timing.medians(timed, rounds=3)
    head = functools.partial(_head, size, backward)
    rows += [head(x) | {"missing": y} for x, y in missing.items()]
    rows += [
      head(variant)
      | {
        "ms": 1e3 * seconds[variant],
        "tflops": flops(size, heads, backward) / seconds[variant] / 1e12,
        "temporary MiB": done.memory / 2**20,
        "skipped": "" if done.skipped is None else done.skipped,
        "unpruned time over this": seconds[PLAIN] / seconds[variant],
      }
      for variant, done in passes.items()
    ]
  return rows


def inputs(size: Size, heads: int, mean: float | None) -> list[Array]:
  """Queries, keys and values, and logs of gates where there is a mean."""
  dtype = "float32" if jax.default_backend() == "cpu" else "bfloat16"
  keys = jax.random.split(jax.random.key(0), 4)
  shape = 1, size.T, heads, size.D
  arrays = [jax.random.normal(key, shape, dtype) for key in keys[:3]]
  if mean is None:
    return arrays
  logits_BTH = mean + jax.random.normal(keys[3], shape[:3])
  return [*arrays, jax.nn.log_sigmoid(logits_BTH)]


def _compiled(size, heads, variant, backward) -> Pass:
  arrays = inputs(size, heads, variant.mean)
  fn = _function(variant)

  def value_and_grads(*arrays):
    out, vjp, skipped = jax.vjp(fn, *arrays, has_aux=True)
    return (out, vjp(jnp.ones_like(out))), skipped

  timed = value_and_grads if backward else fn
  compiled = jax.jit(timed).lower(*arrays).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  call = functools.partial(compiled, *arrays)
  skipped = call()[1]
  return Pass(call, memory, None if skipped is None else float(skipped.mean()))


def _function(variant) -> Callable:
  """A function of arrays that gives the output, and what it skipped."""
  op, _, implementation = variant.op.partition(", ")
  if implementation:
    attend = functools.partial(
      getattr(kernels, op), implementation=implementation
    )
    return lambda *arrays: (attend(*arrays), None)

  def forget(*arrays):
    found = kernels.forgetting_attention_with_statistics(
      *arrays, prune=variant.prune
    )
    return found.out_BTHD, jax.lax.stop_gradient(found.skipped_BH)

  return forget


def _head(size, backward, variant):
  return {
    "T": size.T,
    "D": size.D,
    "pass": "forward + backward" if backward else "forward",
    "op": variant.op,
    "prune": variant.prune or "",
    "mean": "" if variant.mean is None else variant.mean,
  }


def _label(row):
  if not row["prune"]:
    return row["op"].replace("_", " ")
  return f"{row['prune']}, mean {row['mean']:g}"
