"""2-simplicial attention beside a naive einsum and ordinary attention.

Useful operations are counted from the pairs that queries see, P = sum over i of
min(i, w1) min(i, w2): 4 D H B P in the forward pass (two products of matrices)
and 16 D H B P with the backward pass (six more). The naive einsum gathers the
windows of every query and holds all its logits; ordinary attention reads w1 w2
keys, so that its products cost the same. Sizes that would take this device
minutes, or more memory than it has, are left out and say so.
"""

from collections.abc import Callable, Mapping, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from launch import timing
from simplex import kernels
from simplex.types import Array
from trainers import figures as plots
from trainers.figures import Series
from trainers.reports import Figure


class Size(NamedTuple):
  """A problem: batch, length, heads, key heads, head width and windows."""

  B: int
  N: int
  H: int
  G: int
  D: int
  windows: tuple[int, int]

  def __str__(self):
    w1, w2 = self.windows
    return f"B{self.B} N{self.N} H{self.H} G{self.G} D{self.D} {w1}x{w2}"


# The first is what a CPU is judged by, the second and third a GPU.
SIZES = (
  Size(1, 2048, 8, 1, 64, (32, 512)),
  Size(4, 8192, 128, 1, 128, (32, 512)),
  Size(1, 2048, 64, 1, 128, (512, 32)),
  Size(1, 1024, 4, 4, 64, (32, 256)),
  Size(2, 4096, 16, 16, 128, (32, 512)),
  *(
    Size(4, 1024 * n, 128, 1, 128, windows)
    for windows in ((32, 512), (32, 256), (64, 512), (128, 128), (16, 1024))
    for n in (1, 2, 4, 8, 16)
    if (n, windows) != (8, (32, 512))
  ),
)
# Of one pass, forward and backward, that is still measured.
MOST_FLOPS = {"cpu": 1e12, "gpu": 1e16, "tpu": 1e15}
MOST_BYTES = {"cpu": 8e9, "gpu": 4e10, "tpu": 1e10}


def pairs(N: int, windows: tuple[int, int]) -> int:
  """Pairs of keys that N queries see in causal windows."""
  a, b = sorted(min(w, N) for w in windows)
  rising = a * (a + 1) * (2 * a + 1) // 6
  return rising + a * (b * (b + 1) - a * (a + 1)) // 2 + (N - b) * a * b


def flops(size: Size, backward: bool) -> float:
  """Useful operations of a pass."""
  return (
    (16 if backward else 4)
    * size.D
    * size.B
    * size.H
    * pairs(size.N, size.windows)
  )


def run() -> list[dict]:
  """Rows with the milliseconds, TFLOP/s and memory of every pass."""
  return [row for size in SIZES for row in rows_of(size)]


def figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
  """Useful TFLOP/s against intensity, under the roof of this device."""
  series = {}
  for name in ("simplex", "naive", "dot_product_attention"):
    points = sorted(
      (row["FLOP/byte"], row["tflops"])
      for row in rows
      if row.get("implementation") == name
    )
    if points:
      series[name.replace("_", " ")] = Series(*zip(*points, strict=True))
  if not series:
    return []
  peak, bandwidth = roof()
  x = np.geomspace(1, max(max(s.x) for s in series.values()), 50)
  series = {"roof": Series(x, np.minimum(peak, bandwidth * x))} | series
  return [
    plots.lines(
      "2-simplicial attention under the roof",
      series,
      xlabel="useful FLOP a byte of arguments and results",
      ylabel="useful TFLOP/s",
      log_x=True,
      log_y=True,
      points=tuple(series)[1:],
      caption="The roof is the speed of a large matrix product and of a copy, "
      "measured in the same run. Each dot is one pass of one size.",
    )
  ]


def roof() -> tuple[float, float]:
  """TFLOP/s of a product of matrices, and terabytes a second of a copy."""
  on_cpu = jax.default_backend() == "cpu"
  n, dtype = (2048, "float32") if on_cpu else (8192, "bfloat16")
  x = jax.random.normal(jax.random.key(0), (n, n), dtype)
  y = jnp.zeros(2**26 if on_cpu else 2**30, "float32")
  product, copy = jax.jit(lambda x: x @ x), jax.jit(lambda y: y + 1)
  seconds = timing.medians({"x": lambda: product(x), "y": lambda: copy(y)})
  return 2 * n**3 / seconds["x"] / 1e12, 2 * y.nbytes / seconds["y"] / 1e12


def rows_of(size: Size) -> list[dict]:
  """Rows of one size: two passes of each implementation that can run."""
  platform = jax.default_backend()
  if flops(size, True) > MOST_FLOPS[platform]:
    reason = f"{flops(size, True):.2g} FLOP are too many for a {platform}"
    return [{"name": str(size), "missing": reason}]
  dtype = "float32" if platform == "cpu" else "bfloat16"
  arrays, d_out = inputs(size, dtype)
  rows = []
  for backward in (False, True):
    calls = {
      name: _compiled(fn, backward, d_out, *arrays[name])
      for name, fn in _functions(size, platform).items()
    }
    timed = {name: call for name, (call, *_) in calls.items()}
    seconds = timing.medians(timed, rounds=3)
    row = functools.partial(_row, size, backward=backward, dtype=dtype)
    rows += [row(name, calls=calls, seconds=seconds) for name in timed]
  return rows


def inputs(size: Size, dtype: str):
  """Arguments of every implementation, and the gradient of their output."""
  B, N, H, G, D, (w1, w2) = size
  keys = jax.random.split(jax.random.key(0), 8)
  normal = lambda i, *shape: jax.random.normal(keys[i], shape, dtype)
  q_BTHD, d_out_BTHD = normal(0, B, N, H, D), normal(1, B, N, H, D)
  ours = [q_BTHD, *(normal(i, B, N, G, D) for i in range(2, 6))]
  pair = [normal(i, B, max(N, w1 * w2), G, D) for i in (6, 7)]
  arrays = dict.fromkeys(("simplex", "naive"), ours)
  return arrays | {"dot_product_attention": [q_BTHD, *pair]}, d_out_BTHD


def naive(q_BTHD: Array, *keys: Array, windows: tuple[int, int]) -> Array:
  """The op as one would write it: gathers windows, holds all logits."""
  B, N, H, D = q_BTHD.shape
  G = keys[0].shape[2]

  def gather(x_BSGD, w):
    padded = jnp.pad(x_BSGD, ((0, 0), (w - 1, 0), (0, 0), (0, 0)))
    return padded[:, jnp.arange(N)[:, None] + jnp.arange(w)]

  (k1, v1), (k2, v2) = (
    [gather(x, w) for x in pair]
    for pair, w in zip((keys[:2], keys[2:]), windows, strict=True)
  )
  seen_1, seen_2 = (
    jnp.arange(N)[:, None] - w + 1 + jnp.arange(w) >= 0 for w in windows
  )
  rows = q_BTHD.reshape(B, N, G, H // G, D)[:, :, None] * k1[..., None, :]
  logits = D**-0.5 * jnp.einsum(
    "BTjGgD,BTkGD->BTGgjk", rows, k2, preferred_element_type=jnp.float32
  )
  seen = (seen_1[:, :, None] & seen_2[:, None])[:, None, None]
  logits = jnp.where(seen, logits, -jnp.inf)
  probs = jax.nn.softmax(logits, axis=(-2, -1)).astype(q_BTHD.dtype)
  mixed = jnp.einsum("BTGgjk,BTkGD->BTGgjD", probs, v2)
  out = jnp.einsum("BTGgjD,BTjGD->BTGgD", mixed, v1)
  return out.reshape(q_BTHD.shape)


def _functions(size: Size, platform: str) -> dict[str, Callable]:
  fns = {
    "simplex": functools.partial(
      kernels.simplicial_attention, windows=size.windows
    )
  }
  B, N, H, _, _, (w1, w2) = size
  # Logits, probabilities and their gradients.
  logits = 4 * 4 * B * H * N * w1 * w2
  if logits <= MOST_BYTES[platform]:
    fns["naive"] = functools.partial(naive, windows=size.windows)
  if logits <= MOST_BYTES[platform] or platform == "gpu":
    fns["dot_product_attention"] = functools.partial(
      jax.nn.dot_product_attention,
      implementation="cudnn" if platform == "gpu" else "xla",
    )
  return fns


def _compiled(fn, backward, d_out_BTHD, *arrays):
  """A call of one pass, the bytes of what it reads and writes, and of more."""

  def value_and_grads(d_out_BTHD, *arrays):
    out, vjp = jax.vjp(fn, *arrays)
    return out, vjp(d_out_BTHD)

  timed = value_and_grads if backward else fn
  arrays = (d_out_BTHD, *arrays) if backward else arrays
  compiled = jax.jit(timed).lower(*arrays).compile()
  memory = compiled.memory_analysis()
  moved = memory.argument_size_in_bytes + memory.output_size_in_bytes
  call = functools.partial(compiled, *arrays)
  return call, moved, memory.temp_size_in_bytes


def _row(size, name, backward, dtype, calls, seconds):
  _, moved, memory = calls[name]
  work = flops(size, backward)
  return {
    "name": f"{size} {dtype}",
    "implementation": name,
    "pass": "forward + backward" if backward else "forward",
    "ms": 1e3 * seconds[name],
    "tflops": work / seconds[name] / 1e12,
    "FLOP/byte": work / moved,
    "temporary MiB": memory / 2**20,
    "time over ours": seconds[name] / seconds["simplex"],
    "memory over ours": memory / calls["simplex"][2],
  }
