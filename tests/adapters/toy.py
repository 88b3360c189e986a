"""A small tree of parameters, and adapters of it that are not at their start.

Shapes are square, wide and tall, and one is a stack of two.
"""

import jax
import jax.numpy as jnp

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


def params(key=None, dtype=jnp.float32):
  key = jax.random.key(0) if key is None else key
  zeros = jax.tree.map(
    lambda shape: jnp.zeros(shape, dtype),
    {"params": SHAPES},
    is_leaf=lambda x: isinstance(x, tuple),
  )
  return noisy(zeros, key)


def noisy(tree, key):
  """The tree with a number of order 0.4 added to each entry."""
  leaves, structure = jax.tree.flatten(tree)
  keys = jax.random.split(key, len(leaves))
  return structure.unflatten(
    x + (0.4 * jax.random.normal(key, x.shape)).astype(x.dtype)
    for x, key in zip(leaves, keys, strict=True)
  )


def trained(name, base):
  """What an adapter could be after training: nothing in it is 0."""
  tree = ADAPTERS[name].init(jax.random.key(1), base)
  return noisy(tree, jax.random.key(2))
