"""Tests for launch/experiments/forgetting_transformer.py."""

import dataclasses

from absl import app
from absl.testing import absltest, parameterized
import chex
import jax

from launch.experiments import forgetting_transformer as experiment
from launch.findings import forgetting_transformer as findings
from simplex.data import text


def parameters(config, arm):
  source = text.source(jax.numpy.zeros(999, "uint8"), 2, 4)
  init = experiment.problem(config, arm, source).init
  shapes = jax.eval_shape(init, jax.random.key(0))
  return sum(x.size for x in jax.tree.leaves(shapes))


class ForgettingTransformerTest(chex.TestCase):
  def test_every_arm_has_words(self):
    self.assertEqual(experiment.ARMS.keys(), findings.ARMS.keys())

  @parameterized.parameters(experiment.Config, experiment.paper)
  def test_arms_have_equal_parameters_within_4_per_cent(self, preset):
    config = preset()
    counts = [parameters(config, arm) for arm in experiment.ARMS]
    self.assertLess(max(counts) / min(counts), 1.04)

  def test_the_published_sizes_have_the_published_parameters(self):
    # 759M and 757M (Table 6), with 50,257 tokens in one of the embedding and
    # the head; here there are 256 in both.
    more = (50_257 - 2 * 256) * 1536
    for arm, published in (("fox_pro", 759e6), ("fox", 757e6)):
      count = parameters(experiment.paper_760m(), arm) + more
      self.assertAlmostEqual(count / published, 1, delta=0.002)

  @parameterized.parameters(
    (dict(arms=("alibi",)), "arms=.*alibi.*not among"),
    (dict(arms=()), "arms=.* must name some of"),
    (dict(eval_context=200), "eval_context=200 must be a multiple of twice"),
    (dict(passage=2000), "passage=2000 is longer than eval_context=1024"),
    (dict(prune_block=100), "prune_block=100 does not divide"),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(experiment.Config(), **fields)

  def test_an_unknown_corpus_is_refused(self):
    config = dataclasses.replace(experiment.tiny(), corpus="novels")
    with self.assertRaisesRegex(app.UsageError, "'novels' is not one of .*cod"):
      experiment.problem(config)


if __name__ == "__main__":
  absltest.main()
