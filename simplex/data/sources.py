"""Ways to make a `Source`."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.types import Array, Batch, Key, Source


class SamplerState(NamedTuple):
  """A key that never changes and the number of batches drawn so far."""

  key: Array  # raw key data, so that it can be saved
  step: Array


def from_sampler(sample: Callable[[Key], Batch], batch_size: int) -> Source:
  """Turns a sampler of one example into an endless source of batches.

  Example `i` of batch `n` depends on the seed, `n` and `i` alone: a run that
  is resumed, or sharded over other devices, sees the same data.

  Args:
    sample: `key -> example`, arrays without a batch axis.
    batch_size: examples in a batch, at least 1.

  Returns:
    A source whose batches have a leading axis of `batch_size`.

  Raises:
    ValueError: `batch_size` is below 1.
  """
  if batch_size < 1:
    raise ValueError(f"batch_size={batch_size} must be at least 1")

  def init(key):
    return SamplerState(jax.random.key_data(key), jnp.zeros((), jnp.int32))

  def next_batch(state):
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    batch = jax.vmap(sample)(jax.random.split(key, batch_size))
    return batch, state._replace(step=state.step + 1)

  return Source(init, next_batch)


def from_batches(batches: Batch) -> Source:
  """A source of batches that were made before, for runs that share them.

  The state is the number of batches drawn so far; after the last one they are
  repeated from the first.

  Args:
    batches: arrays whose leading axis runs over the batches.
  """
  arrays = jax.tree.leaves(batches)
  chex.assert_equal_shape_prefix(arrays, 1)
  count = arrays[0].shape[0]

  def init(key):
    del key
    return jnp.zeros((), jnp.int32)

  def next_batch(step):
    return jax.tree.map(lambda x: x[step % count], dict(batches)), step + 1

  return Source(init, next_batch)
