import dataclasses
import functools
import re

from absl.testing import absltest, parameterized
import chex
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
import numpy as np

from simplex.data.random_computation import bank

CONFIG = bank.Config(
  mixture="lstm",
  num_machines=2,
  rows_per_machine=4,
  bank_rows=32,
  constant_resets=2,
  random_resets=2,
  hidden=8,
  layers=2,
)
B, T = 8, 16


def changed(**fields):
  return dataclasses.replace(CONFIG, **fields)


@functools.cache
def compiled(config):
  """The source's two functions."""
  source = bank.source(config, B, T)
  return jax.jit(source.init), jax.jit(source.next)


def start(config, seed=0):
  return compiled(config)[0](jax.random.key(seed))


def run(config, state, steps):
  """The batches of some steps from a state, and the state after them."""
  batches = []
  for _ in range(steps):
    batch, state = compiled(config)[1](state)
    batches.append(jax.tree.map(np.asarray, dict(batch)))
  return batches, jax.tree.map(np.asarray, state)


class SourceTest(chex.TestCase):
  def test_targets_are_the_tokens_one_position_ahead(self):
    (batch,), _ = run(CONFIG, start(CONFIG), 1)
    chex.assert_shape([batch["tokens"], batch["targets"]], (B, T))
    chex.assert_type([batch["tokens"], batch["targets"]], np.int32)
    chex.assert_trees_all_equal(
      batch["tokens"][:, 1:], batch["targets"][:, :-1]
    )
    self.assertBetween(batch["tokens"].min(), 0, 255)

  def test_a_saved_state_continues_with_the_same_batches(self):
    straight, _ = run(CONFIG, start(CONFIG), 4)
    _, saved = run(CONFIG, start(CONFIG), 2)
    resumed, _ = run(CONFIG, saved, 2)
    chex.assert_trees_all_equal(straight[2:], resumed)

  def test_batches_differ_from_step_to_step_and_from_seed_to_seed(self):
    (one, two), _ = run(CONFIG, start(CONFIG), 2)
    (other,), _ = run(CONFIG, start(CONFIG, seed=1), 1)
    self.assertTrue(np.any(one["tokens"] != two["tokens"]))
    self.assertTrue(np.any(one["tokens"] != other["tokens"]))

  def test_the_uniform_mixture_is_noise_from_the_first_batch(self):
    config = changed(mixture="uniform")
    (batch,), _ = run(config, start(config), 1)
    sizes = [len(np.unique(row)) for row in batch["tokens"]]
    self.assertGreater(min(sizes), T // 2)

  def test_the_official_settings_make_a_source(self):
    config = dataclasses.replace(bank.official(), hidden=8, layers=1)
    (batch,), _ = run(config, start(config), 1)
    self.assertEqual(batch["tokens"].shape, (B, T))


class BankTest(chex.TestCase):
  def test_it_starts_with_constant_rows(self):
    bank_NT = np.asarray(start(CONFIG).bank[0])
    self.assertEqual(bank_NT.shape, (32, T + 1))
    self.assertTrue(np.all(bank_NT == bank_NT[:, :1]))
    self.assertGreater(len(np.unique(bank_NT)), 8)

  def test_a_step_rewrites_the_rows_of_the_machines_and_the_resets(self):
    state = start(CONFIG)
    _, after = run(CONFIG, state, 1)
    rewritten = np.any(after.bank != state.bank, axis=2).sum()
    self.assertBetween(rewritten, 4, 12)

  def test_the_whole_bank_is_rewritten_in_time(self):
    state = start(CONFIG)
    _, after = run(CONFIG, state, 30)
    rewritten = np.any(after.bank != state.bank, axis=2).mean()
    self.assertGreater(rewritten, 0.9)  # a few may come back to what they were

  def test_only_the_iterated_process_reads_what_is_in_the_bank(self):
    def both(config):
      """The rows that a step writes into two different banks."""
      states = [
        start(config)._replace(bank=np.full((1, 32, T + 1), fill, np.uint8))
        for fill in (3, 4)
      ]
      after = [run(config, state, 1)[1].bank for state in states]
      written = np.any(
        [
          np.any(a != s.bank, axis=2)
          for a, s in zip(after, states, strict=True)
        ],
        axis=0,
      )
      return [a[written] for a in after]

    chex.assert_trees_all_equal(*both(changed(iterate=False)))
    self.assertFalse(np.array_equal(*both(CONFIG)))

  def test_rounds_are_what_the_machines_write_step_after_step(self):
    rows_rNT = bank.rounds(CONFIG, jax.random.key(0), 3, T)
    chex.assert_shape(rows_rNT, (3, 8, T + 1))
    self.assertTrue(np.any(rows_rNT[0] != rows_rNT[2]))


class GroupsTest(parameterized.TestCase):
  @parameterized.parameters("lstm", "copier")
  def test_devices_make_the_same_batches_without_talking(self, mixture):
    config = changed(mixture=mixture, num_groups=4, hidden=4, layers=1)
    state = start(config)
    mesh = jax.make_mesh((4,), ("data",), (AxisType.Auto,))
    spread = NamedSharding(mesh, P("data"))
    step = jax.jit(
      compiled(config)[1], in_shardings=(spread,), out_shardings=spread
    )
    step = step.lower(state).compile()
    collectives = r"all-gather|all-reduce|all-to-all|collective|reduce-scatter"
    self.assertEqual(re.findall(collectives, step.as_text()), [])
    batch, after = step(jax.device_put(state, spread))
    (expected,), expected_after = run(config, state, 1)
    chex.assert_trees_all_equal(dict(batch), expected)
    chex.assert_trees_all_equal(after, expected_after)

  def test_a_group_is_not_touched_by_the_others(self):
    config = changed(num_groups=2)
    state = start(config)
    other = state._replace(bank=state.bank.at[1].add(1))
    (one,), _ = run(config, state, 1)
    (two,), _ = run(config, other, 1)
    chex.assert_trees_all_equal(one["tokens"][:4], two["tokens"][:4])
    self.assertTrue(np.any(one["tokens"][4:] != two["tokens"][4:]))


class ConfigTest(parameterized.TestCase):
  @parameterized.parameters(
    ({"mixture": "gru"}, "mixture='gru' is not one of .*'structured'"),
    ({"num_machines": 0}, "num_machines=0 must be at least 1"),
    ({"rows_per_machine": 0}, "rows_per_machine=0 must be at least 1"),
    ({"bank_rows": 0}, "bank_rows=0 must be at least 1"),
    ({"seed_length": 0}, "seed_length=0 must be at least 1"),
    ({"num_groups": 0}, "num_groups=0 must be at least 1"),
    ({"constant_resets": -1}, "constant_resets=-1 must be at least 0"),
    ({"hidden": -1}, "hidden=-1 must be at least 0"),
    ({"num_groups": 3}, "batch_size=8 must be a positive multiple of"),
    ({"bank_rows": 7}, "num_machines . rows_per_machine = 8 rows"),
    ({"constant_resets": 40}, "constant_resets . random_resets = 42 rows"),
    ({"seed_length": 17}, "context=16 must be at least seed_length=17"),
    ({"mixture": "structured"}, "num_machines=2 leaves a kind of machine"),
    (
      {"mixture": "transformer", "hidden": 15},
      "hidden=15 must be a multiple of heads=2",
    ),
    (
      {"iterate": False, "constant_resets": 0, "random_resets": 0},
      "iterate=False needs constant_resets or random_resets",
    ),
  )
  def test_sizes_that_do_not_fit_are_refused(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      bank.source(changed(**fields), B, T)

  def test_a_batch_larger_than_the_bank_is_refused(self):
    with self.assertRaisesRegex(ValueError, "batch_size / num_groups = 64"):
      bank.source(CONFIG, 64, T)


if __name__ == "__main__":
  absltest.main()
