from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data.random_computation import automaton

S, T = 4, 128
CONFIG = automaton.Config(max_states=8)
KIND = automaton.make(CONFIG)


def rows(key, conditions_NT):
  seeds_NS = jax.random.randint(key, (conditions_NT.shape[0], S), 0, 256)
  params = jax.vmap(KIND.init)(jax.random.split(key, 16))
  return jax.vmap(KIND.run, (0, None, None))(params, seeds_NS, conditions_NT)


class AutomatonTest(chex.TestCase):
  def test_a_constant_condition_gives_a_period_of_at_most_the_states(self):
    rows_MNT = np.asarray(rows(jax.random.key(0), jnp.full((3, T), 7)))
    tail_MNt = rows_MNT[:, :, S + CONFIG.max_states :]
    periodic = [
      (tail_MNt[..., p:] == tail_MNt[..., :-p]).all(axis=-1)
      for p in range(1, CONFIG.max_states + 1)
    ]
    self.assertTrue(np.any(periodic, axis=0).all())
    self.assertFalse(np.all(periodic[0]))

  def test_noise_gives_strings_between_constant_and_uniform(self):
    noise_NT = jax.random.randint(jax.random.key(1), (3, T), 0, 256)
    rows_MNT = np.asarray(rows(jax.random.key(0), noise_NT))[:, :, S:]
    sizes = [len(np.unique(row)) for row in rows_MNT.reshape(-1, T - S)]
    self.assertGreater(np.mean(sizes), 2)
    self.assertLess(max(sizes), CONFIG.max_states * CONFIG.max_classes + 1)

  def test_the_same_machine_writes_the_same_rows(self):
    noise_NT = jax.random.randint(jax.random.key(1), (3, T), 0, 256)
    chex.assert_trees_all_equal(
      rows(jax.random.key(0), noise_NT), rows(jax.random.key(0), noise_NT)
    )

  def test_tables_use_every_size_up_to_the_limits(self):
    params = jax.vmap(KIND.init)(jax.random.split(jax.random.key(2), 256))
    self.assertEqual(int(params.next.max()), CONFIG.max_states - 1)
    self.assertEqual(int(params.class_of.max()), CONFIG.max_classes - 1)
    one_state = (params.next == 0).all(axis=(1, 2))
    self.assertBetween(float(one_state.mean()), 0.1, 0.6)


if __name__ == "__main__":
  absltest.main()
