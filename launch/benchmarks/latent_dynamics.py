"""Fixed points from 4,096 starts, beside a Python loop over samples.

The map is the latent map of an autoencoder of digits, f(z) = encode(decode(z)),
with 16 dimensions and contracting weights. The loop is what notebooks do: one
jitted step, called until the step is small, one sample after another.
"""

import jax
import jax.numpy as jnp
import numpy as np

from launch import timing
from simplex.analysis.dynamics import methods, solvers
from simplex.models import autoencoder

STARTS, LATENT = 4096, 16
TOLERANCE, BUDGET = 1e-4, 1000


def run() -> list[dict]:
  """Rows with the seconds of a pass, starts in a second and the ratio."""
  fn, starts_ND = latent_map()
  step = jax.jit(lambda z_D: (fn(z_D), jnp.linalg.norm(fn(z_D) - z_D)))

  def loop():
    for z_D in starts_ND:
      for _ in range(BUDGET):
        next_D, length = step(z_D)
        if float(length) <= TOLERANCE:
          break
        z_D = next_D
    return z_D

  def solve(method):
    how = {"method": method, "tolerance": TOLERANCE, "budget": BUDGET}
    return lambda: solvers.solve(fn, starts_ND, **how)

  fns = {
    "python_loop": loop,
    "picard": solve(methods.picard()),
    "anderson": solve(methods.anderson()),
  }
  seconds = timing.medians(fns, rounds=3)
  steps = {name: fns[name]().steps_N for name in ("picard", "anderson")}
  return [
    {
      "name": f"latent_dynamics/{name}",
      "seconds": s,
      "starts_per_second": STARTS / s,
      "ratio": seconds["python_loop"] / s,
      "mean_steps": float(np.mean(steps.get(name, steps["picard"]))),
    }
    for name, s in seconds.items()
  ]


def latent_map():
  """Random weights, scaled so that |J| is 0.9 at 0, and N(0, I) starts."""
  cfg = autoencoder.Config((8, 8, 1), LATENT)
  net = autoencoder.Autoencoder(cfg)
  params = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))

  def fn(z_D):
    images = net.apply(params, z_D[None], method="decode")
    return net.apply(params, images, method="encode")[0]

  starts_ND = jax.random.normal(jax.random.key(1), (STARTS, LATENT))
  scale = 0.9 / jnp.linalg.norm(jax.jacobian(fn)(jnp.zeros(LATENT)), 2)
  return lambda z_D: scale * fn(z_D) + 0.1, starts_ND
