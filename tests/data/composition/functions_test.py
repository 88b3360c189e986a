"""Tests for simplex/data/composition/functions.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import numpy as np

from simplex.data.composition import functions


def drawn(cfg, count=2000):
  keys = jax.random.split(jax.random.key(0), count)
  batch = jax.device_get(jax.jit(jax.vmap(functions.sampler(cfg)))(keys))
  np.testing.assert_array_equal(batch["mask"].sum(1), 1)
  np.testing.assert_array_equal(batch["mask"][:, -1], 1)
  chex.assert_shape(batch["tokens"], (count, cfg.length))
  return batch["tokens"], batch["targets"][:, -1]


class FunctionsTest(chex.TestCase):
  def test_a_function_is_applied_twice(self):
    tokens_NT, answers_N = drawn(functions.Config(values=7))
    for (*f, question), answer in zip(tokens_NT, answers_N, strict=True):
      self.assertEqual(question, 0)
      self.assertEqual(f[f[0]] - 1, answer)
      self.assertEqual(sorted(f[1:]), list(range(1, 8)))

  def test_two_permutations_are_applied_in_turn(self):
    tokens_NT, answers_N = drawn(functions.Config(values=5, permutations=True))
    for row, answer in zip(tokens_NT, answers_N, strict=True):
      g, h, x = row[:5], row[5:10], row[10]
      self.assertEqual(h[g[x]], answer)
      self.assertEqual(sorted(g), list(range(5)))
      self.assertEqual(sorted(h), list(range(5)))

  @parameterized.parameters(True, False)
  def test_no_single_token_tells_the_answer(self, permutations):
    n = 4
    cfg = functions.Config(values=n, permutations=permutations)
    tokens_NT, answers_N = drawn(cfg, 40_000)
    for t in range(cfg.length):
      for value in np.unique(tokens_NT[:, t]):
        chosen = answers_N[tokens_NT[:, t] == value]
        share = np.bincount(chosen, minlength=n) / len(chosen)
        # A place that is looked up one time in n holds the answer that often.
        self.assertLess(share.max(), 1 / n + 1 / n * (1 - 1 / n) + 0.02)
        if not permutations and t == 0:
          np.testing.assert_allclose(share, 1 / n, atol=0.02)

  def test_too_few_values_are_an_error(self):
    with self.assertRaisesRegex(ValueError, "values=1 must be at least 2"):
      functions.Config(values=1)


if __name__ == "__main__":
  absltest.main()
