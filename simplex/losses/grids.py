"""Losses of rollouts on grids of colours."""

import chex
import jax
import jax.numpy as jnp

from simplex.types import Array, Metrics

SMALLEST = 1e-9  # a probability of 0 costs 20.7 nats, not infinitely many


def every_step(
  colours_TYXK: Array, targets_YX: Array, mask_YX: Array
) -> tuple[Array, Metrics]:
  """Negative log-likelihood of the right colours at every step.

  Xu & Miikkulainen 2025, https://arxiv.org/abs/2506.15746: the mean over steps
  and cells.

  Args:
    colours_TYXK: probabilities after each step; axes between T and Y are a
      batch.
    targets_YX: the right colours, integers.
    mask_YX: 1 on the cells that count.

  Returns:
    The loss in nats, and metrics of the last step: "cells", the share of cells
    that are right, and "exact", the share of grids that are right everywhere.
    A grid without a cell counts as exact.
  """
  chex.assert_equal_shape([targets_YX, mask_YX])
  chex.assert_shape(colours_TYXK, (None, *targets_YX.shape, None))
  right_YXK = jax.nn.one_hot(targets_YX, colours_TYXK.shape[-1])
  right_TYX = jnp.sum(colours_TYXK * right_YXK, axis=-1)
  return nats(right_TYX, mask_YX), accuracy(
    colours_TYXK[-1], targets_YX, mask_YX
  )


def nats(right_TYX: Array, mask_YX: Array) -> Array:
  """The loss of `every_step`, of the probabilities of the right colours."""
  chex.assert_shape(right_TYX, (None, *mask_YX.shape))
  nats_TYX = -jnp.log(jnp.maximum(right_TYX, SMALLEST))
  cells = jnp.maximum(jnp.sum(mask_YX), 1)
  return jnp.sum(jnp.where(mask_YX > 0, nats_TYX, 0.0)) / (
    cells * len(right_TYX)
  )


def accuracy(colours_YXK: Array, targets_YX: Array, mask_YX: Array) -> Metrics:
  """The metrics of `every_step`, of the colours of one step."""
  good_YX = jnp.argmax(colours_YXK, axis=-1) == targets_YX
  cells = jnp.maximum(jnp.sum(mask_YX), 1)
  return {
    "cells": jnp.sum(good_YX * (mask_YX > 0)) / cells,
    "exact": jnp.mean(jnp.all(good_YX | (mask_YX <= 0), axis=(-2, -1))),
  }
