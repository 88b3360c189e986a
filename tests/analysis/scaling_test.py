"""Tests for simplex/analysis/scaling.py."""

from absl.testing import absltest, parameterized
import chex
import numpy as np

from simplex.analysis import scaling

N = scaling.ACTIVE_PARAMETERS


def alphas(name):
  table = scaling.TABLE_2[name]
  return [scaling.fit(N, table[m]).alpha for m in ("transformer", "simplicial")]


class FitTest(chex.TestCase):
  def test_an_exact_power_law_gives_back_its_exponent(self):
    sizes = np.array([1.0, 3.0, 10.0, 40.0])
    found = scaling.fit(sizes, 2.0 * sizes**-0.3)
    np.testing.assert_allclose(found[:3], (0.3, -np.log(2.0), 1.0), atol=1e-9)
    np.testing.assert_allclose(found[3:], 0.3, atol=1e-6)

  def test_the_interval_holds_the_truth_as_often_as_it_says(self):
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(1000):
      noise = np.exp(0.01 * rng.normal(size=3))
      found = scaling.fit(N, np.asarray(N) ** -0.1 * noise)
      hits.append(found.low <= 0.1 <= found.high)
    self.assertAlmostEqual(np.mean(hits), 0.95, delta=0.02)

  def test_two_points_have_no_interval(self):
    found = scaling.fit((1.0, 2.0), (2.0, 1.0))
    self.assertAlmostEqual(found.alpha, 1.0)
    self.assertTrue(np.isnan(found.low))

  def test_points_at_one_size_are_an_error(self):
    with self.assertRaisesRegex(ValueError, "at different N"):
      scaling.fit((2.0, 2.0), (1.0, 2.0))
    with self.assertRaisesRegex(ValueError, "two or more"):
      scaling.fit((2.0, 3.0), (1.0, 2.0, 3.0))


class PaperTest(chex.TestCase):
  @parameterized.parameters(
    ("GSM8k", 18.8, 18.5),
    ("MMLU", 9.0, 8.5),
    ("MMLU-pro", 20.5, 20.2),
    ("MBPP", 7.2, 6.8),
  )
  def test_the_gains_of_table_3_follow_from_table_2(
    self, name, ours, published
  ):
    gain = scaling.relative_gain(*alphas(name))
    self.assertAlmostEqual(gain, ours, delta=0.1)
    self.assertAlmostEqual(gain, published, delta=0.6)

  @parameterized.parameters(*scaling.TABLE_2)
  def test_the_exponents_agree_when_sizes_span_a_factor_of_3_18(self, name):
    for model, ours in zip(scaling.TABLE_3[name], alphas(name), strict=True):
      published = scaling.TABLE_3[name][model]
      self.assertAlmostEqual(ours / published, 0.923, delta=0.006)
      span = scaling.implied_range(ours, published, 3.5)
      self.assertAlmostEqual(span, 3.18, delta=0.03)
      sizes = np.asarray(N) ** (np.log(span) / np.log(3.5))
      again = scaling.fit(sizes, scaling.TABLE_2[name][model]).alpha
      self.assertAlmostEqual(again, published, delta=1e-6)


if __name__ == "__main__":
  absltest.main()
