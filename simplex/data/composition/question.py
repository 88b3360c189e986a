"""The common form of the tasks: facts, then one question, answered in place."""

import jax
import jax.numpy as jnp

from simplex.types import Array, Batch, Key


def example(facts_N: Array, question: Array, answer: Array) -> Batch:
  """An example: "tokens", "targets" and "mask", each `[T]`, T = N + 1.

  The mask is 1 at the question, the last position, and 0 at the facts, whose
  targets mean nothing.
  """
  tokens_T = jnp.append(facts_N, question).astype(jnp.int32)
  mask_T = jnp.zeros(tokens_T.shape).at[-1].set(1)
  targets_T = jnp.zeros_like(tokens_T).at[-1].set(answer)
  return {"tokens": tokens_T, "targets": targets_T, "mask": mask_T}


def permutation(key: Key, N: int) -> Array:
  """A random order of 0 to N - 1, each as likely.

  The ranks of N random numbers, by N^2 comparisons: for the short arrays here,
  in a batch, far faster on a CPU than the sorts of `jax.random.permutation`.
  """
  u_N = jax.random.uniform(key, (N,))
  # Equal numbers, one case in millions, are told apart by their places.
  before_NN = jnp.tri(N, k=-1, dtype=bool)
  lower_NN = (u_N < u_N[:, None]) | ((u_N == u_N[:, None]) & before_NN)
  return lower_NN.sum(1)
