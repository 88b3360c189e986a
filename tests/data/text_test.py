"""Tests for simplex/data/text.py."""

from absl.testing import absltest
import chex
import jax
import numpy as np

from simplex.data import text

COUNT = np.arange(100, dtype=np.uint8)


class SplitTest(chex.TestCase):
  def test_parts_joined_are_the_text(self):
    parts = text.split(COUNT, (0.5, 0.3, 0.2))
    self.assertEqual([part.size for part in parts], [50, 30, 20])
    np.testing.assert_array_equal(np.concatenate(parts), COUNT)

  def test_every_byte_is_in_one_part_for_fractions_that_do_not_divide(self):
    parts = text.split(COUNT[:7], (1 / 3, 1 / 3, 1 / 3))
    self.assertEqual([part.size for part in parts], [2, 3, 2])

  def test_fractions_that_are_not_shares_of_1_are_errors(self):
    for fractions in [(0.5, 0.3, 0.3), (1.2, -0.2, 0.0), (0.5, 0.5)]:
      with self.assertRaisesRegex(ValueError, "three numbers"):
        text.split(COUNT, fractions)


class WindowsTest(chex.TestCase):
  def test_windows_run_evenly_from_the_start_to_the_end(self):
    windows_NT = text.windows(COUNT, 4, 10)
    chex.assert_shape(windows_NT, (4, 10))
    np.testing.assert_array_equal(windows_NT[:, 0], [0, 30, 60, 90])
    np.testing.assert_array_equal(windows_NT[-1], COUNT[-10:])

  def test_short_text_gives_overlapping_windows(self):
    windows_NT = text.windows(COUNT[:4], 3, 3)
    np.testing.assert_array_equal(windows_NT[:, 0], [0, 0, 1])

  def test_text_shorter_than_one_window_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "has 5 bytes and .* needs 6"):
      text.windows(COUNT[:5], 1, 6)

  def test_numbers_below_1_are_errors(self):
    with self.assertRaisesRegex(ValueError, "num_windows=0"):
      text.windows(COUNT, 0, 6)
    with self.assertRaisesRegex(ValueError, "length=0"):
      text.windows(COUNT, 1, 0)


class SourceTest(chex.TestCase):
  def test_a_target_is_the_byte_after_its_token(self):
    source = text.source(COUNT, batch_size=8, context=5)
    batch, _ = jax.jit(source.next)(source.init(jax.random.key(0)))
    chex.assert_shape([batch["tokens"], batch["targets"]], (8, 5))
    chex.assert_type([batch["tokens"], batch["targets"]], np.int32)
    np.testing.assert_array_equal(batch["targets"], batch["tokens"] + 1)

  def test_every_window_is_drawn_from_the_first_to_the_last(self):
    source = text.source(COUNT[:6], batch_size=200, context=3)
    batch, _ = source.next(source.init(jax.random.key(0)))
    self.assertEqual(set(np.asarray(batch["tokens"][:, 0])), {0, 1, 2})

  def test_text_of_one_window_is_enough_and_less_is_an_error(self):
    source = text.source(COUNT[:4], batch_size=1, context=3)
    batch, _ = source.next(source.init(jax.random.key(0)))
    np.testing.assert_array_equal(batch["targets"], [[1, 2, 3]])
    with self.assertRaisesRegex(ValueError, "has 3 bytes and .* needs 4"):
      text.source(COUNT[:3], batch_size=1, context=3)

  def test_numbers_below_1_are_errors(self):
    with self.assertRaisesRegex(ValueError, "context=0"):
      text.source(COUNT, batch_size=1, context=0)
    with self.assertRaisesRegex(ValueError, "batch_size=0"):
      text.source(COUNT, batch_size=0, context=3)


if __name__ == "__main__":
  absltest.main()
