"""A proxy of closed form: logits that know the last token alone."""

import jax
import jax.numpy as jnp

V = 5
PARAMS = {"table": jax.random.normal(jax.random.key(0), (V, V))}
DIRECTION = {"table": jax.random.normal(jax.random.key(1), (V, V))}


def extend(params, tokens_BT, calls):
  return params["table"][tokens_BT], calls + 1


def caches():
  return jnp.zeros((), jnp.int32)


def derivative(tokens):
  """Delta after each token: the direction less its mean under the proxy."""
  d_BV = DIRECTION["table"][tokens]
  probs_BV = jax.nn.softmax(PARAMS["table"][tokens])
  return d_BV - jnp.sum(probs_BV * d_BV, axis=-1, keepdims=True)
