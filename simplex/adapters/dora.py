"""DoRA: direction and magnitude apart (Liu et al. 2024).

https://arxiv.org/abs/2402.09353
"""

import jax.numpy as jnp

from simplex.adapters import adapter, paths


def dora(inner: adapter.Adapter) -> adapter.Adapter:
  """Sets the norms of the columns that `inner` gives to trained magnitudes.

    K' = m * (K + L R^T) / |K + L R^T|    norms over d_in, one for each output

  The magnitudes start at the norms of the base, so that the start is that of
  `inner`, which may be any adapter. The norms are constants to the gradient.

  The tree is `{"inner": that of inner, "magnitude": {path: [..., d_out]}}`.
  """

  def init(key, base):
    tree = inner.init(key, base)
    kernels = paths.pick(base, inner.factors(base, tree, 0))
    norms = {p: jnp.linalg.norm(k, axis=-2) for p, k in kernels.items()}
    return {"inner": tree, "magnitude": norms}

  def factors(base, tree, step):
    if not tree:
      return {}
    return {
      path: f._replace(magnitude=tree["magnitude"][path])
      for path, f in inner.factors(base, tree["inner"], step).items()
    }

  return adapter.make(init, factors)
