from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data.random_computation import mixtures


class RenamedTest(chex.TestCase):
  def test_each_row_is_renamed_by_a_bijection_of_its_own(self):
    every_token = jnp.tile(jnp.arange(256), (4, 1))
    renamed_NT = np.asarray(mixtures.renamed(jax.random.key(0), every_token))
    for row in renamed_NT:
      chex.assert_trees_all_equal(np.sort(row), np.arange(256))
    self.assertLess(np.mean(renamed_NT[0] == renamed_NT[1]), 0.1)

  def test_which_positions_are_equal_does_not_change(self):
    rows_NT = jax.random.randint(jax.random.key(1), (3, 64), 0, 8)
    renamed_NT = mixtures.renamed(jax.random.key(0), rows_NT)
    equal = lambda x_NT: x_NT[:, :, None] == x_NT[:, None, :]
    chex.assert_trees_all_equal(equal(rows_NT), equal(renamed_NT))

  def test_a_token_becomes_each_of_the_256_equally_often(self):
    rows_NT = jnp.full((256 * 32, 1), 5)
    renamed_NT = mixtures.renamed(jax.random.key(0), rows_NT)
    counts = np.bincount(np.asarray(renamed_NT).ravel(), minlength=256)
    chi_squared = np.sum((counts - 32.0) ** 2 / 32)
    self.assertBetween(chi_squared, 180, 340)  # 255 degrees of freedom


class MixturesTest(parameterized.TestCase):
  @parameterized.parameters(*mixtures.MIXTURES)
  def test_shares_sum_to_one(self, name):
    parts = mixtures.MIXTURES[name].parts
    self.assertAlmostEqual(sum(part.share for part in parts), 1.0)

  @parameterized.parameters(8, 9, 13, 64)
  def test_counts_are_within_one_of_the_shares(self, num_machines):
    mixture = mixtures.MIXTURES["structured"]
    counts = mixtures.counts(mixture, num_machines)
    self.assertEqual(sum(counts), num_machines)
    for part, count in zip(mixture.parts, counts, strict=True):
      self.assertLessEqual(abs(count - part.share * num_machines), 1.0)

  def test_resizing_changes_the_kinds_that_have_the_size(self):
    mixture = mixtures.resized(
      mixtures.MIXTURES["structured"], hidden=8, layers=0
    )
    lstm, automaton, _, transformer = mixture.parts
    self.assertEqual((lstm.config.hidden, lstm.config.layers), (8, 4))
    self.assertEqual(transformer.config.hidden, 8)
    self.assertFalse(hasattr(automaton.config, "hidden"))

  def test_the_official_gain_is_the_multiplier_to_the_number_of_layers(self):
    config = mixtures.MIXTURES["official"].parts[0].config
    self.assertEqual(config.gain, (1.0, 3.5, config.layers))


if __name__ == "__main__":
  absltest.main()
