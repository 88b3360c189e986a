"""A small tree of parameters, and adapters of it that are not at their start.

Shapes are square, wide and tall, and one is a stack of two.
"""

import jax
import jax.numpy as jnp
import numpy as np

from simplex.adapters import adapter, dora, lora, singlora, targets

CONFIG = targets.Config(
  rank=3,
  alpha=6.0,
  ranks=((r".*down.*", 2),),
  alphas=((r".*query.*", 1.5),),
)
NUM_STEPS = 40
SHAPES = {
  "query": {"kernel": (6, 6)},
  "up": {"kernel": (6, 9), "bias": (9,)},
  "down": {"kernel": (9, 6)},
  "layers": {"up": {"kernel": (2, 5, 7)}},
}
ADAPTERS = {
  "lora": lora.lora(CONFIG),
  "singlora": singlora.singlora(CONFIG, NUM_STEPS, ramp=0.5),
}
ADAPTERS["chain"] = adapter.chain(dict(ADAPTERS))
ADAPTERS["dora"] = dora.dora(ADAPTERS["lora"])
ADAPTERS["dora of a chain"] = dora.dora(ADAPTERS["chain"])


def params(seed=0, dtype=jnp.float32):
  zeros = jax.tree.map(
    lambda shape: jnp.zeros(shape, dtype),
    {"params": SHAPES},
    is_leaf=lambda x: isinstance(x, tuple),
  )
  return noisy(zeros, seed)


def noisy(tree, seed):
  """The tree with a number of order 0.4 added to each entry."""
  rng = np.random.default_rng(seed)
  noise = lambda x: jnp.asarray(0.4 * rng.normal(size=x.shape), x.dtype)
  return jax.tree.map(lambda x: x + noise(x), tree)


def trained(name, base):
  """What an adapter could be after training: nothing in it is 0."""
  tree = ADAPTERS[name].init(jax.random.key(1), base)
  return noisy(tree, 2)
