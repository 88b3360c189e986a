"""Tests for simplex/data/formal.py."""

import ast
import itertools
import re

from absl.testing import absltest
import chex
import numpy as np

from simplex.data import formal

# Of the automaton: from each state, where each byte may lead.
EDGES = {
  0: {122: {0, 1}, 248: {2, 3}, 224: {4}},
  1: {224: {1, 3}},
  2: {248: {3}},
  3: {248: {4}},
  4: {248: {0}, 122: {2}, 224: {3}},
}


def text(name, num_bytes=60_000):
  return formal.SETS[name](np.random.default_rng(0), num_bytes).tobytes()


def words(name):
  """The whole words of a set with delimiters."""
  return text(name).decode().split("|")[1:-1]


class SetsTest(chex.TestCase):
  def test_delimiters_stand_where_the_published_sets_have_them(self):
    for name in formal.SETS:
      has = name in ("champ", "dyck", "ndfa", "toy", "bits", "toy2")
      self.assertEqual(text(name, 1) == b"|", has, name)

  def test_strings_have_the_length_asked_for_and_a_common_start(self):
    for name in formal.SETS:
      short, long = text(name, 37), text(name, 1000)
      self.assertLen(short, 37)
      self.assertEqual(short, long[:37])

  def test_champ_counts_in_hexadecimal(self):
    for word in words("champ"):
      starts = [int(word[:width], 16) for width in range(1, 7)]
      counted = [
        "".join(f"{i:x}" for i in range(start, start + 256)) for start in starts
      ]
      self.assertIn(word, counted)

  def test_dyck_words_end_at_their_first_return_to_depth_0(self):
    found = words("dyck")
    for word in found:
      steps = [1 if letter == "(" else -1 for letter in word]
      depths = list(itertools.accumulate(steps))
      self.assertEqual(depths.index(0), len(word) - 1)
    opened = sum(word.count("(") - 1 for word in found)
    drawn = sum(len(word) - 1 for word in found)
    self.assertAlmostEqual(opened / drawn, 7 / 16, delta=0.01)

  def test_ndfa_repeats_one_of_three_words_three_times_on_average(self):
    found = words("ndfa")
    for word in found:
      self.assertRegex(word, r"^s(?:(?:abc!)*|(?:uvw!)*|(?:klm!)*)s$")
    counts = [(len(word) - 2) / 4 for word in found]
    self.assertAlmostEqual(np.mean(counts), 3, delta=0.2)
    shares = [np.mean([w[1] == a for w in found]) for a in "auk"]
    np.testing.assert_allclose(shares, 1 / 4, atol=0.03)

  def test_bits_computes_with_a_true_that_is_written_0(self):
    for word in words("bits"):
      rows = [[a == "0" for a in word[i : i + 5]] for i in range(0, 30, 5)]
      for x, y, *results in zip(*rows, strict=True):
        self.assertEqual(results, [x != y, x and y, x or y, x == y])

  def test_bitsrep_repeats_and_bitsflip_reverses(self):
    data = text("bitsrep", 900)
    for i in range(0, 900, 9):
      self.assertEqual(data[i : i + 9], data[i : i + 3] * 3)
    data = text("bitsflip", 1200)
    for i in range(0, 1200, 12):
      self.assertEqual(data[i : i + 6], data[i + 6 : i + 12][::-1])
    self.assertAlmostEqual(data.count(b"1") / 1200, 0.5, delta=0.1)

  def test_aut_is_accepted_by_the_automaton_from_every_512th_byte(self):
    data = text("aut", 512 * 100)
    for i in range(0, len(data), 512):
      states = {0}
      for byte in data[i : i + 512]:
        states = set().union(*(EDGES[s].get(byte, ()) for s in states))
      self.assertTrue(states)
    first = [data[i] for i in range(0, len(data), 512)]
    self.assertAlmostEqual(first.count(224) / 100, 1 / 5, delta=0.15)

  def test_a_sixth_of_toy_sentences_is_a_noun_with_a_verb(self):
    found = words("toy")
    noun = r"(?:a|the)(?: short| quick| busy| nice| gorgeous)?"
    noun += r" (?:mouse|bunny|cat|dog|man|woman|person)"
    verb = r"(?:walked|walks|ran|runs|goes|went)"
    plain = [w for w in found if re.fullmatch(f"{noun} {verb}", w)]
    self.assertAlmostEqual(len(plain) / len(found), 1 / 6, delta=0.03)
    for word in found:
      self.assertRegex(word, f"^{noun} {verb}")

  def test_toy2_words_are_expressions_and_a_quarter_are_variables(self):
    found = words("toy2")
    for word in found:
      ast.parse(word, mode="eval")
    share = np.mean([len(word) == 1 for word in found])
    self.assertAlmostEqual(share, 0.6 * 0.6 * 0.8 * 0.8, delta=0.02)


class WindowsTest(chex.TestCase):
  def test_windows_depend_on_the_arguments_alone(self):
    for name in formal.SETS:
      windows_NT = formal.windows(name, 3, 5, 24)
      chex.assert_shape(windows_NT, (5, 24))
      self.assertEqual(windows_NT.dtype, np.uint8)
      np.testing.assert_array_equal(windows_NT, formal.windows(name, 3, 5, 24))
      self.assertFalse(
        np.array_equal(windows_NT, formal.windows(name, 4, 5, 24))
      )

  def test_every_window_of_rep3_repeats_three_tokens_of_its_own(self):
    windows_NT = formal.windows("rep3", 0, 50, 20)
    np.testing.assert_array_equal(windows_NT[:, 3:], windows_NT[:, :-3])
    self.assertLen(np.unique(windows_NT[:, :3], axis=0), 50)

  def test_windows_of_a_periodic_set_meet_every_phase_equally(self):
    windows_NT = formal.windows("bitsflip", 0, 1200, 48)
    # The second half of a word is certain: a pair is equal always, or half
    # the time, by its phase.
    pairs = [windows_NT[:, t] == windows_NT[:, t + 1] for t in range(47)]
    means = [np.mean(pair) for pair in pairs]
    np.testing.assert_allclose(means, 13 / 24, atol=0.06)

  def test_unknown_set_is_an_error_that_lists_the_known(self):
    with self.assertRaisesRegex(ValueError, "name='dick'.*'dyck'.*'rep10'"):
      formal.windows("dick", 0, 1, 8)

  def test_numbers_below_1_are_errors(self):
    with self.assertRaisesRegex(ValueError, "num_windows=0"):
      formal.windows("dyck", 0, 0, 8)
    with self.assertRaisesRegex(ValueError, "length=0"):
      formal.windows("rep1", 0, 1, 0)


if __name__ == "__main__":
  absltest.main()
