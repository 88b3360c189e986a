"""Tests for simplex/analysis/dynamics/memory.py."""

from absl.testing import absltest
import chex
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import memory, solvers


class MemoryTest(chex.TestCase):
  def test_only_the_maximum_sees_a_copy_of_an_example(self):
    train_MD = jnp.asarray([[1.0, 0.0], [0.0, 2.0]])
    found = memory.memorisation(jnp.asarray([[0.0, 5.0]]), train_MD)
    np.testing.assert_allclose(found.nearest, 1)
    np.testing.assert_allclose(found.farthest, 0, atol=1e-7)

  def test_a_centre_takes_out_what_all_share(self):
    train_MD = jnp.asarray([[9.0, 1.0], [11.0, 1.0]])
    point = jnp.asarray([[10.0, 3.0]])
    plain = memory.memorisation(point, train_MD).nearest
    centred = memory.memorisation(point, train_MD, train_MD.mean(0)).nearest
    self.assertGreater(float(plain[0]), 0.97)
    np.testing.assert_allclose(centred, 0, atol=1e-6)

  def test_entropy_counts_directions_that_hold_the_variance(self):
    points_ND = jnp.diag(jnp.asarray([3.0, 3.0, 1.0]))  # 18 / 19 = .947
    entropy = memory.generalisation_entropy
    self.assertEqual(int(entropy(points_ND)), 2)
    self.assertEqual(int(entropy(points_ND, 0.95)), 3)
    self.assertEqual(int(entropy(points_ND, 1.0)), 3)
    self.assertEqual(int(entropy(jnp.zeros((2, 2)))), 0)

  def test_a_trajectory_score_is_the_mean_over_its_path(self):
    fold = memory.trajectory_score(jnp.asarray([[0.0], [10.0]]), 2)
    solution = solvers.solve(
      lambda z_D: z_D / 2, jnp.asarray([[4.0], [9.0]]), budget=2, fold=fold
    )
    # Paths 4, 2, 1 and 9, 4.5, 2.25.
    np.testing.assert_allclose(solution.folded, [7 / 3, 7.75 / 3], rtol=1e-6)

  def test_no_attractor_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "at least one attractor"):
      memory.trajectory_score(jnp.zeros((0, 3)), 4)


if __name__ == "__main__":
  absltest.main()
