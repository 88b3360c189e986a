"""Tests for simplex/data/composition/match3.py."""

import itertools

from absl.testing import absltest, parameterized
import chex
import jax
import numpy as np

from simplex.data.composition import match3

CFG = match3.Config(modulus=23, facts=6, fewest=2, short=0.3, single=0.5)


def drawn(cfg, count=4000):
  keys = jax.random.split(jax.random.key(0), count)
  batch = jax.device_get(jax.jit(jax.vmap(match3.sampler(cfg)))(keys))
  return batch["tokens"], batch["targets"][:, -1], batch["mask"]


def matching_pairs(tokens_T, modulus):
  """Pairs of positions that match the last token, blanks left out."""
  *facts, q = (int(x) for x in tokens_T)
  places = [i for i, x in enumerate(facts) if x != match3.BLANK]
  places.append(len(facts))
  return [
    (i, j)
    for i, j in itertools.combinations_with_replacement(places, 2)
    if (tokens_T[i] + tokens_T[j] + q) % modulus == 0
  ]


class SamplerTest(chex.TestCase):
  @parameterized.parameters(CFG, match3.hardest(CFG))
  def test_the_answer_is_what_all_pairs_say(self, cfg):
    tokens_NT, labels_N, mask_NT = drawn(cfg, 1000)
    found = [len(matching_pairs(row, cfg.modulus)) for row in tokens_NT]
    np.testing.assert_array_equal(np.array(found) > 0, labels_N)
    np.testing.assert_array_equal(mask_NT.sum(1), 1)
    chex.assert_shape(tokens_NT, (1000, cfg.length))
    self.assertBetween(tokens_NT.min(), 0, cfg.vocab_size - 1)
    self.assertLess(tokens_NT.max(), cfg.vocab_size)

  def test_the_hardest_examples_have_all_facts_and_one_match(self):
    tokens_NT, labels_N, _ = drawn(match3.hardest(CFG), 500)
    self.assertTrue((tokens_NT[:, 1:] != match3.BLANK).all())
    found = [len(matching_pairs(row, CFG.modulus)) for row in tokens_NT]
    np.testing.assert_array_equal(found, labels_N)

  def test_blanks_do_not_match_and_facts_differ(self):
    tokens_NT, _, _ = drawn(CFG, 500)
    for row in tokens_NT:
      facts = [x for x in row[:-1] if x != match3.BLANK]
      self.assertLen(set(facts), len(facts))
      self.assertNotIn(-row[-1] % CFG.modulus, facts)

  def test_both_answers_are_as_likely(self):
    _, labels_N, _ = drawn(CFG, 20_000)
    self.assertAlmostEqual(labels_N.mean(), 0.5, delta=0.011)

  def test_one_fact_and_the_question_do_not_tell_the_answer(self):
    cfg = match3.hardest(match3.Config(modulus=11, facts=3, fewest=3))
    tokens_NT, labels_N, _ = drawn(cfg, 30_000)
    share = np.full((11, 11), np.nan)
    for q, x in itertools.product(range(1, 11), repeat=2):
      has_N = (tokens_NT[:, -1] == q) & (tokens_NT[:, 1:-1] == x).any(1)
      if has_N.sum():
        self.assertGreater(has_N.sum(), 300)
        share[q, x] = labels_N[has_N].mean()
    np.testing.assert_allclose(share[np.isfinite(share)], 0.5, atol=0.08)

  def test_few_kinds_match_about_half_of_the_time(self):
    keys = jax.random.split(jax.random.key(0), 200)
    tokens_NT = jax.vmap(match3.few_kinds(32, 37))(keys)
    found_NT = jax.vmap(lambda x: match3.matches(x, 37))(tokens_NT)
    self.assertBetween(float(found_NT.mean()), 0.3, 0.6)
    self.assertBetween(int(tokens_NT.min()), 1, 36)

  def test_matches_look_at_every_triple(self):
    tokens_T = np.array([1, 35, 10, 20])
    expected = [
      any((i + j + k) % 37 == 0 for j in tokens_T for k in tokens_T)
      for i in tokens_T
    ]
    self.assertEqual(match3.matches(tokens_T, 37).tolist(), expected)
    self.assertIn(True, expected)
    self.assertIn(False, expected)

  @parameterized.parameters(
    (dict(modulus=21), "modulus=21 must be odd"),
    (dict(modulus=22), "modulus=22 must be odd"),
    (dict(facts=10), "facts=10 must be from 2 to .* 9"),
    (dict(fewest=7), "fewest=7 must be from 2 to facts=6"),
  )
  def test_sizes_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      match3.Config(**fields)


if __name__ == "__main__":
  absltest.main()
