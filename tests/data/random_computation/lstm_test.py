import dataclasses

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data.random_computation import lstm, machine, mixtures

S, T = 8, 512


@jax.jit
def official_rows(multiplier):
  """Six official LSTMs, four constant and four random conditions each."""
  config = dataclasses.replace(
    mixtures.OFFICIAL_LSTM, gain=machine.fixed(multiplier**4)
  )
  kind = lstm.make(config)
  keys = jax.random.split(jax.random.key(0), 3)
  seeds_NS = jax.random.randint(keys[0], (8, S), 0, 256)
  conditions_NT = jax.random.randint(keys[1], (8, T), 0, 256)
  conditions_NT = conditions_NT.at[:4].set(conditions_NT[:4, :1])
  params = jax.vmap(kind.init)(jax.random.split(keys[2], 6))
  run = jax.vmap(kind.run, (0, None, None))
  return run(params, seeds_NS, conditions_NT)


def unigram_entropy(row_T):
  counts = np.bincount(row_T)
  p = counts[counts > 0] / row_T.size
  return -np.sum(p * np.log2(p))


def mean_entropy(rows_MNT):
  return np.mean([unigram_entropy(row) for row in rows_MNT.reshape(-1, T - S)])


def distinct_rows(rows_MNT):
  return [len({row.tobytes() for row in rows_NT}) for rows_NT in rows_MNT]


class RegimeTest(chex.TestCase):
  """Bloem's LSTMs pass from order to chaos as their multiplier m grows."""

  def rows(self, multiplier):
    return np.asarray(official_rows(multiplier))[:, :, S:]

  def test_multipliers_up_to_1_2_give_constant_and_equal_rows(self):
    for multiplier in (1.0, 1.2):
      rows_MNT = self.rows(multiplier)
      self.assertEqual(distinct_rows(rows_MNT), [1] * 6)
      self.assertLess(mean_entropy(rows_MNT), 0.1)
      self.assertTrue(np.all(rows_MNT[:, :, 32:] == rows_MNT[:, :, -1:]))

  def test_multiplier_1_5_is_the_edge_of_chaos(self):
    rows_MNT = self.rows(1.5)
    self.assertBetween(mean_entropy(rows_MNT), 3.5, 6.0)
    self.assertBetween(np.mean(distinct_rows(rows_MNT)), 1.5, 7.5)

  def test_multiplier_1_6_has_distinct_rows_with_structure(self):
    rows_MNT = self.rows(1.6)
    self.assertBetween(mean_entropy(rows_MNT), 5.0, 6.5)
    self.assertEqual(distinct_rows(rows_MNT), [8] * 6)

  def test_multiplier_2_is_chaos(self):
    rows_MNT = self.rows(2.0)
    self.assertGreater(mean_entropy(rows_MNT), 6.6)
    self.assertEqual(distinct_rows(rows_MNT), [8] * 6)


def plain_lstm(params, seeds_NS, conditions_NT):
  """The same machine, gate by gate, with sigmoids and two biases in one."""
  N, length = conditions_NT.shape
  E = params.first.shape[0]
  unscaled = np.where(np.arange(4 * E) < 3 * E, 2.0, 1.0)
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  params = jax.tree.map(np.asarray, params)
  states = [(np.zeros((N, E)), np.zeros((N, E)))] * (1 + len(params.rest))
  tokens = [np.asarray(seeds_NS[:, 0])]
  for t in range(length - 1):
    below = None
    for n, (h, c) in enumerate(states):
      if n == 0:
        gates = params.token[tokens[-1]] + h @ params.first
        gates += params.condition[conditions_NT[:, t]]
      else:
        w, b = params.rest[n - 1]
        gates = below @ w[:E] + h @ w[E:] + b
      i, f, o, g = np.split(gates * unscaled, 4, axis=1)
      c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
      below = sigmoid(o) * np.tanh(c)
      states[n] = (below, c)
    w, b = params.output
    token = np.argmax(below @ w + b, axis=1)
    forced = t + 1 < seeds_NS.shape[1]
    tokens.append(np.asarray(seeds_NS[:, t + 1]) if forced else token)
  return np.stack(tokens, axis=1)


class LstmTest(chex.TestCase):
  def test_it_agrees_with_a_textbook_lstm(self):
    kind = lstm.make(lstm.Config(hidden=16, gain=machine.fixed(3.0)))
    params = kind.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1))
    seeds_NS = jax.random.randint(keys[0], (5, 4), 0, 256)
    conditions_NT = jax.random.randint(keys[1], (5, 24), 0, 256)
    tokens_NT = kind.run(params, seeds_NS, conditions_NT)
    chex.assert_trees_all_equal(
      np.asarray(tokens_NT), plain_lstm(params, seeds_NS, conditions_NT)
    )

  def test_an_output_bias_narrows_the_alphabet(self):
    def alphabet(deviation):
      kind = lstm.make(
        lstm.Config(
          gain=machine.fixed(10.0), output_bias=machine.fixed(deviation)
        )
      )
      params = kind.init(jax.random.key(0))
      seeds_NS = jnp.arange(32).reshape(8, 4)
      conditions_NT = jax.random.randint(jax.random.key(1), (8, 64), 0, 256)
      rows_NT = np.asarray(kind.run(params, seeds_NS, conditions_NT))[:, 4:]
      return len(np.unique(rows_NT))

    self.assertLess(alphabet(3.0), alphabet(0.0))


if __name__ == "__main__":
  absltest.main()
