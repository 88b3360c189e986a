"""Tests for simplex/analysis/grid_scores.py."""

from absl.testing import absltest
import numpy as np

from simplex.analysis import grid_scores

RIGHT = [np.array([[1, 2], [3, 4]]), np.array([[5, 6]])]
WRONG = [np.array([[1, 2], [3, 0]]), np.array([[5, 6]])]
LATER = [np.array([[1, 2], [3, 4]]), np.array([[5, 0]])]


class GridScoresTest(absltest.TestCase):
  def test_every_cell_of_every_grid_has_to_be_right(self):
    self.assertTrue(grid_scores.is_exact(RIGHT, RIGHT))
    self.assertFalse(grid_scores.is_exact(WRONG, RIGHT))
    self.assertFalse(grid_scores.is_exact([RIGHT[0].T, RIGHT[1]], RIGHT))
    self.assertFalse(grid_scores.is_exact([RIGHT[0], RIGHT[1].T], RIGHT))

  def test_attempts_may_each_solve_another_grid(self):
    self.assertTrue(grid_scores.is_solved([WRONG, LATER], RIGHT))
    self.assertFalse(grid_scores.is_solved([WRONG, WRONG], RIGHT))

  def test_cells_are_counted_over_all_grids(self):
    self.assertAlmostEqual(grid_scores.right_cells(WRONG, RIGHT), 5 / 6)
    other = [np.zeros((3, 3), int), RIGHT[1]]
    self.assertAlmostEqual(grid_scores.right_cells(other, RIGHT), 2 / 6)
    self.assertAlmostEqual(grid_scores.right_cells(LATER, RIGHT), 5 / 6)

  def test_a_certain_right_answer_has_the_least_error(self):
    output_YX = np.array([[1, 0]])
    hot_YXK = np.eye(10)[output_YX]
    self.assertLess(grid_scores.log_error(hot_YXK, output_YX), -700)
    # One wrong cell of two: two of its ten colours are off by one.
    wrong = grid_scores.log_error(np.eye(10)[[[1, 5]]], output_YX)
    self.assertAlmostEqual(wrong, np.log(2 / 20))
    other = grid_scores.log_error(hot_YXK, output_YX.T)
    self.assertEqual(other, np.inf)

  def test_the_lenient_criterion_takes_the_best_moment(self):
    self.assertTrue(grid_scores.is_lenient([-2.0, -7.5, -3.0]))
    self.assertFalse(grid_scores.is_lenient([-2.0, -6.9]))


if __name__ == "__main__":
  absltest.main()
