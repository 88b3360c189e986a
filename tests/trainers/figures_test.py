"""Figures are whole SVG, the same every time, and keep their numbers."""

import pathlib
import re
import subprocess
import sys
from xml.etree import ElementTree

from absl.testing import absltest
import chex
import numpy as np

from trainers import figures
from trainers.figures import Series

_X = np.arange(5.0)


def _lines(title="A & B", **kwargs):
  series = {"up": Series(_X, _X, _X - 1, _X + 1), "down": (_X, -_X)}
  return figures.lines(title, series, xlabel="step", **kwargs)


def _texts(figure):
  root = ElementTree.fromstring(figure.svg)
  return [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]


class FiguresTest(chex.TestCase):
  def test_equal_numbers_draw_equal_bytes(self):
    self.assertEqual(_lines().svg, _lines().svg)
    self.assertNotIn("metadata", _lines().svg)

  def test_a_figure_names_itself_for_those_who_cannot_see_it(self):
    root = ElementTree.fromstring(_lines().svg)
    space = "{http://www.w3.org/2000/svg}"
    self.assertEqual(root.find(f"{space}title").text, "A & B")
    self.assertIn("up, down", root.find(f"{space}desc").text)
    self.assertEqual(root.get("role"), "img")
    self.assertIsNotNone(root.get("viewBox"))

  def test_two_figures_on_a_page_share_no_id(self):
    ids = [set(re.findall(r'id="(.*?)"', _lines(t).svg)) for t in "ab"]
    self.assertFalse(ids[0] & ids[1])

  def test_every_reference_inside_a_figure_is_defined(self):
    svg = _lines().svg
    used = set(re.findall(r'(?:href="#|url\(#)(.*?)["\)]', svg))
    self.assertTrue(used)
    self.assertLessEqual(used, set(re.findall(r'id="(.*?)"', svg)))

  def test_curves_and_references_are_named_beside_their_ends(self):
    texts = _texts(_lines(references={"chance": 2.0}))
    self.assertContainsSubset(["up", "down", "chance", "step"], texts)

  def test_many_curves_get_a_legend(self):
    many = {f"curve {i}": (_X, _X + i) for i in range(9)}
    self.assertContainsSubset(list(many), _texts(figures.lines("t", many)))

  def test_a_figure_keeps_every_number_it_was_given(self):
    x = np.arange(5000.0)
    figure = figures.lines("t", {"a": (x, np.sin(x))})
    np.testing.assert_array_equal(figure.curves["a"].y, np.sin(x))

  def test_logarithmic_ticks_are_plain_text(self):
    x = np.geomspace(1e2, 1e6, 9)
    texts = _texts(figures.lines("t", {"a": (x, x)}, log_x=True, log_y=True))
    self.assertContainsSubset(["100", "1k", "10k", "100k", "1M"], texts)

  def test_a_narrow_logarithm_has_ticks_all_the_same(self):
    texts = _texts(figures.lines("t", {"a": (_X, _X + 3)}, log_y=True))
    self.assertContainsSubset(["4", "5", "6"], texts)

  def test_missing_values_leave_gaps(self):
    figure = figures.lines("t", {"a": (_X, _X * np.nan), "b": (_X, _X)})
    self.assertIn("b", _texts(figure))
    self.assertNotIn("nan", figure.svg)

  def test_few_bars_stay_bars_and_many_become_dots(self):
    few = figures.bars("t", ["g", "h"], {"a": [1, 2], "b": [2, 1]})
    groups = [f"set {i}" for i in range(14)]
    errors = {"m0": (np.zeros(14), np.ones(14))}
    many = {f"m{i}": np.full(14, float(i)) for i in range(7)}
    many = figures.bars("t", groups, many, errors=errors)
    self.assertContainsSubset(["g", "h", "a", "b"], _texts(few))
    self.assertContainsSubset([*groups, "m0", "m6"], _texts(many))
    # A marker is drawn by reference, a bar as a path of its own.
    self.assertGreater(many.svg.count("<use"), few.svg.count("<use") + 80)
    self.assertEqual(list(many.curves["m0"].x), groups)

  def test_bytes_become_pixels_in_one_row_or_many(self):
    images = [np.arange(64), np.zeros((4, 64), int)]
    figure = figures.byte_images("t", images, ["one row", "four rows"])
    self.assertContainsSubset(["one row", "four rows"], _texts(figure))
    # Two pictures and the scale of colours, within the file.
    self.assertEqual(figure.svg.count("data:image/png;base64"), 3)
    np.testing.assert_array_equal(figure.curves["one row"].y, np.arange(64))

  def test_bytes_that_cannot_be_printed_are_escaped(self):
    samples = {"a": b"a<b\\\n\xff", "b": np.array([65, 0])}
    rows = figures.text_samples("t", samples).rows
    self.assertEqual(rows[0], ("a", r"a<b\x5c\x0a\xff"))
    self.assertEqual(rows[1], ("b", r"A\x00"))

  def test_long_samples_are_cut_with_an_ellipsis(self):
    rows = figures.text_samples("t", {"a": b"abcd"}, limit=3).rows
    self.assertEqual(rows[0][1], "abc…")

  def test_labels_keep_their_distance_and_their_mean(self):
    places = figures._apart([0.5, 0.5, 0.52, 0.9], [0.1] * 4)
    self.assertTrue(np.all(np.diff(places) > 0.0999))
    self.assertAlmostEqual(np.mean(places), 0.605, delta=1e-3)

  def test_an_empty_figure_is_refused(self):
    for draw in (
      lambda: figures.lines("t", {}),
      lambda: figures.bars("t", ["a"], {}),
      lambda: figures.byte_images("t", [], []),
    ):
      with self.assertRaisesRegex(ValueError, "figure 't' is empty"):
        draw()

  def test_columns_of_unequal_length_are_refused(self):
    for draw in (
      lambda: figures.lines("t", {"a": (_X, _X[1:])}),
      lambda: figures.lines("t", {"a": (_X, _X, _X, _X[1:])}),
      lambda: figures.lines("t", {"a": ([], [])}),
      lambda: figures.bars("t", ["g"], {"a": [1, 2]}),
    ):
      with self.assertRaisesRegex(ValueError, "'a' of figure 't' has columns"):
        draw()

  def test_errors_of_an_unknown_series_are_refused(self):
    errors = {"b": ([0], [1])}
    with self.assertRaisesRegex(ValueError, r"\['b'\] are not among \['a'\]"):
      figures.bars("t", ["g"], {"a": [1]}, errors=errors)

  def test_images_without_labels_are_refused(self):
    with self.assertRaisesRegex(ValueError, "has 1 images and 0 labels"):
      figures.byte_images("t", [np.zeros(4)], [])

  def test_importing_figures_does_not_import_matplotlib(self):
    code = "import sys, trainers.figures; print('matplotlib' in sys.modules)"
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, "-c", code]
    found = subprocess.check_output(command, cwd=root, text=True)
    self.assertEqual(found.strip(), "False")

  def test_points_are_not_joined(self):
    def strokes(**settings):
      svg = figures.lines("T", {"a": ([1, 2, 3], [1, 3, 2])}, **settings).svg
      colour = figures._COLOURS[0].lower()
      drawn = re.findall(r'<path d="[^"]*" clip-path[^>]*>', svg)
      return [path for path in drawn if colour in path.lower()]

    self.assertNotEmpty(strokes())
    self.assertEmpty(strokes(points=("a",)))


if __name__ == "__main__":
  absltest.main()
