from absl.testing import absltest
import chex
import jax
import numpy as np

from simplex.data.random_computation import copier, machine

S, T = 4, 64


def rows(config, seed=0):
  keys = jax.random.split(jax.random.key(seed), 3)
  kind = copier.make(config)
  seeds_NS = jax.random.randint(keys[0], (3, S), 0, 256)
  noise_NT = jax.random.randint(keys[1], (3, T), 0, 256)
  params = jax.vmap(kind.init)(jax.random.split(keys[2], 16))
  run = jax.vmap(kind.run, (0, None, None))
  return run(params, seeds_NS, noise_NT), seeds_NS, noise_NT


class CopierTest(chex.TestCase):
  def test_no_literals_and_no_switches_repeat_one_string(self):
    config = copier.Config(machine.fixed(0.0), machine.fixed(0.0))
    rows_MNT = np.asarray(rows(config)[0])[:, :, S:]
    periods = [
      next(p for p in range(1, T) if np.all(row[p:] == row[:-p]))
      for row in rows_MNT.reshape(-1, T - S)
    ]
    self.assertGreater(len(set(periods)), 4)
    self.assertBetween(np.median(periods), 2, T // 2)

  def test_nothing_but_literals_copies_the_condition(self):
    config = copier.Config(machine.fixed(1.0), machine.fixed(0.5))
    rows_MNT, _, noise_NT = rows(config)
    for rows_NT in np.asarray(rows_MNT):
      chex.assert_trees_all_equal(rows_NT[:, S:], np.asarray(noise_NT[:, S:]))

  def test_every_token_comes_from_the_seed_or_the_condition(self):
    rows_MNT, seeds_NS, noise_NT = rows(copier.Config())
    for rows_NT in np.asarray(rows_MNT):
      for row, seed, noise in zip(rows_NT, seeds_NS, noise_NT, strict=True):
        known = set(np.asarray(seed)) | set(np.asarray(noise))
        self.assertLessEqual(set(row), known)

  def test_rows_of_a_machine_repeat_at_the_same_places(self):
    config = copier.Config(machine.fixed(0.2), machine.fixed(0.2))
    rows_MNT = np.asarray(rows(config)[0])
    repeats_MNt = rows_MNT[:, :, S:] == rows_MNT[:, :, S - 1 : -1]
    agree_Mt = repeats_MNt.all(axis=1) | ~repeats_MNt.any(axis=1)
    self.assertGreater(np.mean(agree_Mt), 0.9)  # all, but for chance
    self.assertGreater(np.mean(repeats_MNt), 0.02)


if __name__ == "__main__":
  absltest.main()
