"""Tests for trainers/grid_pictures.py."""

import base64
import io
import re
from xml.etree import ElementTree

from absl.testing import absltest
import numpy as np
from PIL import Image

from trainers import grid_pictures
from trainers.grid_pictures import Film, Panel

SVG = "{http://www.w3.org/2000/svg}"
GRID = np.array([[0, 0, 3], [3, 0, 0]])


class GridPicturesTest(absltest.TestCase):
  def test_every_colour_is_one_path_over_its_cells(self):
    found = grid_pictures.gallery("G", {"a & b · c": [Panel("input", GRID)]})
    root = ElementTree.fromstring(found.svg)
    paths = {p.get("fill"): p.get("d") for p in root.iter(f"{SVG}path")}
    self.assertEqual(paths["#000000"], "M0 0h2v1h-2zM1 1h2v1h-2z")
    self.assertEqual(paths["#2ECC40"], "M2 0h1v1h-1zM0 1h1v1h-1z")
    texts = [text.text for text in root.iter(f"{SVG}text")]
    self.assertEqual(texts, ["a & b · c", "input"])
    np.testing.assert_array_equal(found.curves["a & b"].y, GRID.ravel())

  def test_wrong_cells_are_crossed(self):
    crossed = np.zeros((2, 3), bool)
    crossed[1, 2] = True
    plain = grid_pictures.gallery("G", {"a": [Panel("x", GRID)]}).svg
    found = grid_pictures.gallery("G", {"a": [Panel("x", GRID, crossed)]}).svg
    self.assertNotIn("#fff", plain)
    middles = re.findall(r'd="M([\d.]+) ([\d.]+)l([\d.]+)', found)
    self.assertLen(middles, 2)  # a white cross on a black one
    for x, y, arm in middles:
      self.assertAlmostEqual(float(x) + float(arm) / 2, 2.5, places=2)
      self.assertAlmostEqual(float(y) + float(arm) / 2, 1.5, places=2)

  def test_a_place_may_stay_free(self):
    full, free = (
      grid_pictures.gallery("G", {"a": [Panel("x", GRID), y, Panel("z", GRID)]})
      for y in (Panel("y", GRID), None)
    )
    place = r"translate\(([\d.]+)"
    first, _, last = re.findall(place, full.svg)
    self.assertEqual(re.findall(place, free.svg), [first, last])

  def test_a_film_has_its_frames_with_the_last_below(self):
    frames = grid_pictures.COLOURS[np.array([GRID, GRID + 1, GRID + 2])]
    found = grid_pictures.growth("F", {"a": Film(frames, [Panel("x", GRID)])})
    root = ElementTree.fromstring(found.svg)
    images = [
      np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
      for data in re.findall('base64,([^"]+)', found.svg)
    ]
    np.testing.assert_array_equal(images, frames[[2, 0, 1]])
    moving = [g for g in root.iter(f"{SVG}g") if g.get("class")]
    self.assertLen(moving, 2)
    self.assertIn("prefers-reduced-motion", found.svg)
    self.assertNotIn("<script", found.svg)

  def test_a_certain_cell_has_its_colour_and_a_doubtful_one_the_mean(self):
    probabilities = np.zeros((2, 10))
    probabilities[0, 4] = 1
    probabilities[1, [0, 5]] = 0.5
    found = grid_pictures.blended(probabilities)
    np.testing.assert_array_equal(found, [[255, 220, 0], [85, 85, 85]])

  def test_an_empty_figure_is_refused(self):
    for make in (grid_pictures.gallery, grid_pictures.growth):
      with self.assertRaisesRegex(ValueError, "'G' is empty"):
        make("G", {})


if __name__ == "__main__":
  absltest.main()
