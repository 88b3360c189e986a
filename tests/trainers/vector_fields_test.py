"""Tests for trainers/vector_fields.py."""

from xml.etree import ElementTree

from absl.testing import absltest
import chex
import numpy as np

from trainers import vector_fields

X, Y = np.linspace(-1, 1, 5), np.linspace(0, 1, 4)
BASIN = (X > 0).astype(int) + np.zeros((4, 1), int)
FIELD = np.ones((4, 5, 2))
STARS = [[-0.5, 0.5], [0.5, 0.5]]


def figure(**kwargs):
  kwargs = {"basin_YX": BASIN, "attractors_K2": STARS, **kwargs}
  return vector_fields.vector_field("t", X, Y, field_YX2=FIELD, **kwargs)


class VectorFieldsTest(chex.TestCase):
  def test_axes_dots_and_attractors_are_named(self):
    made = figure(xlabel="z1", dots_N2=[[0, 0]], dots_label="codes")
    root = ElementTree.fromstring(made.svg)
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    self.assertContainsSubset(["z1", "codes", "attractors"], texts)

  def test_basins_are_a_picture_of_one_pixel_per_cell(self):
    self.assertEqual(figure().svg.count("<image"), 1)

  def test_a_figure_keeps_its_basins_attractors_and_dots(self):
    made = figure(dots_N2=[[0.25, 0.75]], dots_label="codes")
    np.testing.assert_array_equal(made.curves["basin"].y, BASIN.ravel())
    np.testing.assert_array_equal(made.curves["attractors"].x, [-0.5, 0.5])
    np.testing.assert_array_equal(made.curves["codes"].y, [0.75])

  def test_a_plane_without_attractors_is_drawn(self):
    made = figure(basin_YX=np.full((4, 5), -1), attractors_K2=[])
    self.assertNotIn("attractors", made.curves)

  def test_what_does_not_fit_the_grid_is_an_error(self):
    with self.assertRaisesRegex(ValueError, r"\(5, 4\).*needs \(4, 5\)"):
      figure(basin_YX=BASIN.T)
    with self.assertRaisesRegex(ValueError, "basin 1 and 1 attractors"):
      figure(attractors_K2=STARS[:1])


if __name__ == "__main__":
  absltest.main()
