"""Tests for simplex/data/composition/relations.py."""

import itertools

from absl.testing import absltest, parameterized
import chex
import jax
import numpy as np

from simplex.data.composition import relations

CONFIGS = (
  relations.Config(nodes=4),
  relations.Config(nodes=5),
  relations.Config(nodes=4, quotient=True),
  relations.Config(nodes=6, quotient=True),
)


def drawn(cfg, count=1000):
  keys = jax.random.split(jax.random.key(0), count)
  batch = jax.device_get(jax.jit(jax.vmap(relations.sampler(cfg)))(keys))
  np.testing.assert_array_equal(batch["mask"].sum(1), 1)
  return batch["tokens"], batch["targets"][:, -1]


def decoded(tokens_T, cfg):
  """A, B, the colours and the pair that is asked for."""
  m, C = cfg.nodes, cfg.colours
  facts = tokens_T[:-1].reshape(m, m)
  colours = facts // 4
  first, second = colours // C, colours % C
  np.testing.assert_array_equal(first, first[:, :1].repeat(m, 1))
  np.testing.assert_array_equal(first, second.T)
  i, j = divmod(tokens_T[-1] - 4 * C * C, m)
  return facts % 4 // 2, facts % 2, first[:, 0], i, j


def composed(A, B, colours, i, j, quotient):
  def meet(k, n):
    return k != n and colours[k] == colours[n] if quotient else k == n

  return any(
    A[i, k] and B[n, j] and meet(k, n)
    for k, n in itertools.product(range(len(A)), repeat=2)
  )


class RelationsTest(chex.TestCase):
  @parameterized.parameters(*CONFIGS)
  def test_the_answer_is_what_all_nodes_say(self, cfg):
    tokens_NT, labels_N = drawn(cfg)
    chex.assert_shape(tokens_NT, (1000, cfg.length))
    self.assertLess(tokens_NT.max(), cfg.vocab_size)
    for row, label in zip(tokens_NT, labels_N, strict=True):
      self.assertEqual(composed(*decoded(row, cfg), cfg.quotient), label)

  @parameterized.parameters(*CONFIGS)
  def test_both_answers_are_as_likely(self, cfg):
    _, labels_N = drawn(cfg, 8000)
    self.assertAlmostEqual(labels_N.mean(), 0.5, delta=0.02)

  @parameterized.parameters(*CONFIGS)
  def test_row_and_column_have_as_many_ones_whatever_the_answer(self, cfg):
    tokens_NT, _ = drawn(cfg, 300)
    for row in tokens_NT:
      A, B, colours, i, j = decoded(row, cfg)
      self.assertEqual(A[i].sum(), 2)
      self.assertEqual(B[:, j].sum(), 2)
      if cfg.quotient:
        np.testing.assert_array_equal(np.bincount(colours), 2)

  @parameterized.parameters(*CONFIGS)
  def test_no_single_fact_tells_the_answer(self, cfg):
    tokens_NT, labels_N = drawn(cfg, 8000)
    rows = [decoded(row, cfg) for row in tokens_NT]
    colours_NK = np.array([colours for _, _, colours, _, _ in rows])
    row_NK = np.array([A[i] for A, _, _, i, _ in rows])
    column_NK = np.array([B[:, j] for _, B, _, _, j in rows])
    for bits_NK in (row_NK, column_NK):
      for k, colour in itertools.product(range(cfg.nodes), range(cfg.colours)):
        seen_N = (bits_NK[:, k] == 1) & (colours_NK[:, k] == colour)
        self.assertAlmostEqual(labels_N[seen_N].mean(), 0.5, delta=0.06)

  @parameterized.parameters((3, False), (5, True))
  def test_sizes_that_cannot_be_are_errors(self, nodes, quotient):
    with self.assertRaisesRegex(ValueError, f"nodes={nodes} must be at least"):
      relations.Config(nodes=nodes, quotient=quotient)


if __name__ == "__main__":
  absltest.main()
