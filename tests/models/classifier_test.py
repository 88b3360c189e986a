"""Tests for simplex/models/classifier.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.models import classifier

CFG = classifier.Config(
  vocab_size=5, num_classes=3, length=6, width=8, num_heads=2
)
TOKENS = jnp.array([[1, 2, 3, 4, 0, 2], [0, 0, 1, 1, 2, 2]])


def applied(cfg, tokens_BT=TOKENS, key=0):
  model = classifier.Classifier(cfg)
  params = model.init(jax.random.key(key), TOKENS)
  return model.apply(params, tokens_BT)


class ClassifierTest(chex.TestCase):
  @parameterized.parameters(
    "simplicial", "simplicial_strassen", "nope", "softmax"
  )
  def test_asking_at_the_end_alone_changes_no_answer(self, mixer):
    cfg = dataclasses.replace(CFG, mixer=mixer, features=4)
    every = applied(dataclasses.replace(cfg, num_queries=None))
    chex.assert_shape(every, (2, 6, 3))
    for count in (1, 2):
      last = applied(dataclasses.replace(cfg, num_queries=count))
      chex.assert_trees_all_close(last, every[:, -count:], atol=1e-5)

  def test_layers_before_the_last_keep_all_positions(self):
    cfg = dataclasses.replace(CFG, num_layers=2, causal=False)
    every = applied(dataclasses.replace(cfg, num_queries=None))
    chex.assert_trees_all_close(applied(cfg), every[:, -1:], atol=1e-5)

  def test_without_positions_the_order_of_the_facts_says_nothing(self):
    cfg = dataclasses.replace(CFG, position_std=0.0)
    shuffled = TOKENS[:, jnp.array([3, 0, 4, 1, 2, 5])]
    chex.assert_trees_all_close(applied(cfg), applied(cfg, shuffled), atol=1e-5)
    cfg = dataclasses.replace(CFG, position_std=1.0)
    gap = jnp.abs(applied(cfg) - applied(cfg, shuffled)).max()
    self.assertGreater(float(gap), 1e-3)

  def test_a_window_hides_what_is_before_it(self):
    cfg = dataclasses.replace(CFG, mixer="nope", windows=(2,))
    other = TOKENS.at[:, :4].set(0)
    chex.assert_trees_all_close(applied(cfg), applied(cfg, other))

  def test_head_width_is_free(self):
    cfg = dataclasses.replace(CFG, num_heads=3, head_width=5)
    chex.assert_shape(applied(cfg), (2, 1, 3))

  @parameterized.parameters(
    (dict(num_heads=3), "num_heads=3 must divide width=8"),
    (dict(num_queries=7), "num_queries=7 must be from 1 to length=6"),
    (dict(mixer="magic"), "mixer='magic' is not one of"),
    (dict(features=-1), "features=-1 must be at least 0"),
    (dict(vocab_size=0), "vocab_size=0 must be at least 1"),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(CFG, **fields)


if __name__ == "__main__":
  absltest.main()
