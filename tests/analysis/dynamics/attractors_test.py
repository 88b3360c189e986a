"""Tests for simplex/analysis/dynamics/attractors.py."""

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import attractors


def well(z_D):
  """In every coordinate attractors at -1 and 1, and a saddle at 0."""
  return z_D + 0.25 * (z_D - z_D**3)


def starts(N=40):
  return jax.random.uniform(jax.random.key(0), (N, 1), minval=-1.5, maxval=1.5)


class AttractorsTest(chex.TestCase):
  def test_a_double_well_has_two_attractors_and_their_basins(self):
    z_ND = starts()
    found = attractors.find(well, z_ND)
    self.assertEqual(found.count, 2)
    ends_N = np.asarray(found.points)[found.basin_N, 0]
    np.testing.assert_allclose(ends_N, np.sign(z_ND[:, 0]), atol=1e-4)
    self.assertEqual(found.sizes_K.sum(), 40)
    np.testing.assert_array_equal(
      attractors.basins(well, z_ND, found), found.basin_N
    )

  def test_a_count_says_what_it_depends_on(self):
    words = str(attractors.find(well, starts(), budget=500))
    self.assertEqual(
      words,
      "2 attractors from 40 starts, 100.0 % of which converged (tolerance "
      "1e-05, budget 500, euclid 0.01)",
    )

  def test_a_saddle_that_was_reached_is_refused(self):
    found = attractors.find(well, jnp.asarray([[0.0], [0.5], [0.6]]))
    self.assertEqual(found.count, 1)
    np.testing.assert_array_equal(found.basin_N, [attractors.NOWHERE, 0, 0])
    np.testing.assert_array_equal(found.certificate.kind_N, [0, 1])

  def test_starts_that_do_not_converge_reach_nowhere(self):
    found = attractors.find(lambda z: -z, jnp.ones((3, 2)), budget=5)
    self.assertEqual((found.count, found.converged), (0, 0.0))
    np.testing.assert_array_equal(found.basin_N, attractors.NOWHERE)
    np.testing.assert_array_equal(
      attractors.basins(lambda z: -z, jnp.ones((2, 2)), found), -1
    )

  def test_a_cosine_ignores_lengths_and_euclid_does_not(self):
    points_ND = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    by = lambda name: attractors.merge(points_ND, attractors.Rule(name))
    np.testing.assert_array_equal(by("cosine"), [0, 0, 1])
    np.testing.assert_array_equal(by("euclid"), [0, 1, 2])

  def test_groups_do_not_depend_on_the_order_of_the_points(self):
    points_ND = np.array([[0.0], [0.02], [0.01], [1.0]])
    rule = attractors.Rule("euclid", 0.015)
    for order in ([0, 1, 2, 3], [1, 0, 3, 2], [3, 2, 1, 0]):
      groups = attractors.merge(points_ND[order], rule)
      self.assertEqual(groups.max(), 1)
      self.assertEqual(groups[0], 0)

  def test_a_straight_boundary_has_uncertainty_exponent_one(self):
    z_ND = jax.random.uniform(jax.random.key(0), (40_000, 2), minval=-1.0)
    found = attractors.uncertainty(
      lambda z_ND: np.asarray(z_ND[:, 0] > 0),
      z_ND,
      (0.02, 0.05, 0.1, 0.2),
      jax.random.key(1),
    )
    self.assertAlmostEqual(found.exponent, 1.0, delta=0.1)

  def test_one_basin_has_no_uncertainty_exponent(self):
    found = attractors.uncertainty(
      lambda z_ND: np.zeros(len(z_ND)), starts(), (0.1, 1), jax.random.key(0)
    )
    np.testing.assert_array_equal(found.fractions, 0)
    self.assertTrue(np.isnan(found.exponent))

  def test_bad_arguments_are_named(self):
    with self.assertRaisesRegex(ValueError, "'angle' is not one of"):
      attractors.Rule("angle")
    with self.assertRaisesRegex(ValueError, "threshold=-1"):
      attractors.Rule(threshold=-1)
    with self.assertRaisesRegex(ValueError, r"epsilons=\(0,\)"):
      attractors.uncertainty(len, starts(), (0,), jax.random.key(0))


if __name__ == "__main__":
  absltest.main()
