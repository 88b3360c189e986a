"""Tests for trainers/heat_maps.py."""

from xml.etree import ElementTree

from absl.testing import absltest
import chex
import numpy as np

from trainers import heat_maps

GRID = np.arange(9.0).reshape(3, 3)


class HeatMapsTest(chex.TestCase):
  def test_every_panel_row_and_axis_is_named(self):
    figure = heat_maps.heat_maps(
      "t",
      {"left": GRID, "right": GRID.T},
      ["a", "b", "c"],
      xlabel="key",
      value_label="weight",
    )
    root = ElementTree.fromstring(figure.svg)
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    self.assertContainsSubset(
      ["left", "right", "a", "b", "c", "key", "weight"], texts
    )

  def test_a_figure_keeps_every_number_it_was_given(self):
    figure = heat_maps.heat_maps("t", {"a": GRID}, list("xyz"))
    np.testing.assert_array_equal(figure.curves["a"].y, GRID.ravel())

  def test_marked_cells_are_framed(self):
    framed = heat_maps.heat_maps("t", {"a": GRID}, list("xyz"), marked=GRID > 7)
    plain = heat_maps.heat_maps("t", {"a": GRID}, list("xyz"))
    self.assertIn("#d55e00", framed.svg.lower())
    self.assertNotIn("#d55e00", plain.svg.lower())

  def test_a_matrix_of_another_size_is_an_error(self):
    with self.assertRaisesRegex(ValueError, r"'a'.*\(3, 3\).*2 labels"):
      heat_maps.heat_maps("t", {"a": GRID}, list("xy"))
    with self.assertRaisesRegex(ValueError, "'marked'"):
      heat_maps.heat_maps("t", {"a": GRID}, list("xyz"), marked=np.eye(2))


if __name__ == "__main__":
  absltest.main()
