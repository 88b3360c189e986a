"""Softmax attention, value and gradients, for each implementation."""

import jax
import jax.numpy as jnp

from launch import timing
from simplex import kernels
from simplex.kernels import backend

PACKAGE = "simplex.kernels.dot_product_attention"
# name: B, T, H, D, settings
SIZES = {
  "causal": (16, 512, 4, 32, {}),
  "long": (1, 2048, 4, 32, {}),
  "window": (1, 2048, 4, 32, {"window": 128}),
}


def run() -> list[dict]:
  """Rows with the seconds of a pass, and the reference's time over it."""
  return [row for name in SIZES for row in _rows(name, *SIZES[name])]


def _rows(size, B, T, H, D, settings):
  keys = jax.random.split(jax.random.key(0), 4)
  *inputs, d_out = (jax.random.normal(key, (B, T, H, D)) for key in keys)
  fns, rows = {}, []
  for name in backend.available(PACKAGE):
    fn = _pass(name, d_out, settings)
    try:
      jax.eval_shape(fn, *inputs)
    except NotImplementedError as e:
      rows.append({"name": f"attention/{size}/{name}", "missing": str(e)})
    else:
      fns[name] = lambda fn=fn: fn(*inputs)
  seconds = timing.medians(fns, rounds=5)
  for name, s in seconds.items():
    rows.append(
      {
        "name": f"attention/{size}/{name}",
        "seconds": s,
        "tokens_per_second": B * T / s,
        "ratio": seconds["reference"] / s,
      }
    )
  return rows


def _pass(implementation, d_out, settings):
  def attend(*inputs):
    return kernels.dot_product_attention(
      *inputs, implementation=implementation, **settings
    )

  @jax.jit
  def value_and_grads(*inputs):
    out, vjp = jax.vjp(attend, *inputs)
    return out, vjp(jnp.asarray(d_out, out.dtype))

  return value_and_grads
