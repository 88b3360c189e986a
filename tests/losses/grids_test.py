"""Tests for simplex/losses/grids.py."""

import math

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.losses import grids


class GridsTest(chex.TestCase):
  def test_certainty_of_the_truth_costs_nothing(self):
    targets = jnp.array([[[0, 1], [2, 1]]])
    colours = jnp.stack([jax.nn.one_hot(targets, 3)] * 4)
    loss, metrics = grids.every_step(colours, targets, jnp.ones((1, 2, 2)))
    self.assertEqual(loss, 0.0)
    self.assertEqual(metrics, {"cells": 1.0, "exact": 1.0})

  def test_ignorance_costs_the_log_of_the_colours_at_every_step(self):
    targets = jnp.zeros((2, 3, 3), int)
    colours = jnp.full((4, 2, 3, 3, 5), 0.2)
    mask = jnp.ones((2, 3, 3))
    loss, _ = grids.every_step(colours, targets, mask)
    self.assertAlmostEqual(loss, math.log(5), places=5)
    right = jax.nn.one_hot(targets, 5)
    loss, _ = grids.every_step(colours.at[3].set(right), targets, mask)
    self.assertAlmostEqual(loss, math.log(5) * 3 / 4, places=5)

  def test_masked_cells_count_for_nothing(self):
    targets = jnp.zeros((2, 2, 2), int)
    mask = jnp.array([[[1, 1], [0, 0]], [[1, 0], [0, 0]]])
    colours = jnp.zeros((1, 2, 2, 2, 2)).at[..., 1].set(1.0)
    colours = colours.at[:, :, 0].set(jnp.array([0.75, 0.25]))

    def total(colours):
      return grids.every_step(colours, targets, mask)

    (loss, metrics), slope = jax.value_and_grad(total, has_aux=True)(colours)
    self.assertAlmostEqual(loss, -math.log(0.75), places=6)
    self.assertEqual(metrics, {"cells": 1.0, "exact": 1.0})
    np.testing.assert_array_equal(
      slope[0] != 0, mask[..., None] * jnp.array([1, 0])
    )

  def test_one_wrong_cell_makes_a_grid_wrong(self):
    targets = jnp.zeros((2, 2, 2), int)
    colours = jnp.stack([jax.nn.one_hot(targets.at[1, 0, 0].set(1), 2)])
    loss, metrics = grids.every_step(colours, targets, jnp.ones((2, 2, 2)))
    self.assertEqual(metrics, {"cells": 7 / 8, "exact": 0.5})
    self.assertAlmostEqual(loss, -math.log(grids.SMALLEST) / 8, places=4)


if __name__ == "__main__":
  absltest.main()
