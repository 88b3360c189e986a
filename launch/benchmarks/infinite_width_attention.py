"""Random attention layers: two million by their exact law, beside simulation.

Layers of four tokens and two heads, at n = 256, one output coordinate of every
token (https://arxiv.org/abs/2506.00846). The peer draws every weight of the
layer, as the paper's own script does, in as few steps: a head costs O(s n^2),
and the law O(s^3). It is measured on few layers, and its seconds are those of
two million by proportion.
"""

import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from launch import timing
from simplex.analysis import attention_limit
from trainers import sharding

TOKENS, HEADS, WIDTH = 4, 2, 256
LAYERS = 2**21
CHUNK = 2**14
SIMULATED = 2**9
SIMULATED_CHUNK = 2**3


def run() -> list[dict]:
  """Rows with the seconds of two million layers, and the ratio to the peer."""
  programs = {
    "exact law": (split(exact), LAYERS // CHUNK),
    "simulation": (split(simulated), SIMULATED // SIMULATED_CHUNK),
  }
  fns, first = {}, {}
  for name, (program, chunks) in programs.items():
    fns[name] = functools.partial(
      program, jax.random.split(jax.random.key(0), chunks)
    )
    start = time.perf_counter()
    jax.block_until_ready(fns[name]())
    first[name] = time.perf_counter() - start
  seconds = timing.medians(fns, rounds=3)
  seconds["simulation"] *= LAYERS / SIMULATED
  rows = []
  for name, s in seconds.items():
    rows.append(
      {
        "name": f"infinite_width_attention/{name}",
        "seconds": s,
        "layers_per_second": LAYERS / s,
        "ratio": seconds["simulation"] / s,
      }
    )
  rows[0]["seconds with compiling"] = first["exact law"]
  return rows


def split(chunk):
  """A program that draws a chunk for every key, keys split over the devices."""
  many = lambda keys: jax.lax.map(chunk, keys)
  mesh = sharding.make_mesh()
  spec = jax.P("data")
  return jax.jit(
    jax.shard_map(
      many, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
    )
  )


def exact(key: jax.Array) -> jax.Array:
  """Outputs of a chunk of layers, by their law, `[N, T, 1]`."""
  return attention_limit.sample_finite(
    key,
    np.eye(TOKENS),
    HEADS,
    num_samples=CHUNK,
    width=WIDTH,
    inputs="gaussian",
  ).outputs


def simulated(key: jax.Array) -> jax.Array:
  """Outputs of a chunk of layers with every weight drawn, `[N, T, 1]`."""
  N, H, T, E = SIMULATED_CHUNK, HEADS, TOKENS, WIDTH
  keys = jax.random.split(key, 6)
  normal = lambda i, *shape: jax.random.normal(keys[i], (N, *shape))
  length_N11 = jnp.linalg.norm(normal(0, 1, E), axis=-1, keepdims=True)
  x_N1TE = (normal(1, T, E) * length_N11 / np.sqrt(E))[:, None]
  q, k, v = (x_N1TE @ normal(i, H, E, E) / np.sqrt(E) for i in (2, 3, 4))
  weights_NHTS = jax.nn.softmax(q @ k.swapaxes(2, 3) / np.sqrt(E))
  out_NHE1 = normal(5, H, E, 1) / np.sqrt(E)
  return (weights_NHTS @ (v @ out_NHE1)).sum(1) / np.sqrt(H)
