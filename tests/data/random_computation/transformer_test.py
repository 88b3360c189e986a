from absl.testing import absltest
import chex
import jax
import numpy as np

from simplex.data.random_computation import transformer

S, T = 4, 64
KIND = transformer.make(transformer.Config(hidden=16))


def rows(seeds_NS, conditions_NT):
  params = jax.vmap(KIND.init)(jax.random.split(jax.random.key(0), 8))
  run = jax.jit(jax.vmap(KIND.run, (0, None, None)))
  return np.asarray(run(params, seeds_NS, conditions_NT))


class TransformerTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    keys = jax.random.split(jax.random.key(1))
    self.seeds_NS = jax.random.randint(keys[0], (3, S), 0, 256)
    self.noise_NT = jax.random.randint(keys[1], (3, T), 0, 256)

  def test_a_token_depends_on_the_past_alone(self):
    changed_NT = self.noise_NT.at[:, 40:].add(1) % 256
    before = rows(self.seeds_NS, self.noise_NT)
    after = rows(self.seeds_NS, changed_NT)
    chex.assert_trees_all_equal(before[..., :40], after[..., :40])
    self.assertTrue(np.any(before != after))

  def test_it_keeps_some_of_the_input_and_writes_the_rest(self):
    rows_MNT = rows(self.seeds_NS, self.noise_NT)[..., S:]
    kept = np.mean(rows_MNT == np.asarray(self.noise_NT[:, S:]))
    self.assertBetween(kept, 0.2, 0.8)

  def test_the_same_machine_writes_the_same_rows(self):
    chex.assert_trees_all_equal(
      rows(self.seeds_NS, self.noise_NT), rows(self.seeds_NS, self.noise_NT)
    )

  def test_heads_must_divide_the_width(self):
    with self.assertRaisesRegex(
      ValueError, "hidden=15 must be a multiple of heads=2"
    ):
      transformer.make(transformer.Config(hidden=15))


if __name__ == "__main__":
  absltest.main()
