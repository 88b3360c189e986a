"""Tests for launch/studies/distillation.py."""

import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from launch.studies import distillation
from simplex.data import running_sums, sources
from simplex.models import transformer

DATA = running_sums.Config(length=2, modulus=3)
MODEL = transformer.Config(
  vocab_size=DATA.vocab_size, width=8, num_layers=1, num_heads=1
)
KEY = jax.random.key(0)


def examples(count):
  sample = running_sums.sampler(DATA)
  return jax.vmap(sample)(jax.random.split(KEY, count))


@functools.cache
def params():
  tokens_BT = examples(1)["tokens"]
  return jax.jit(transformer.Transformer(MODEL).init)(KEY, tokens_BT)


class DistillationTest(chex.TestCase):
  def test_right_completions_are_right_and_wrong_ones_can_be_forced(self):
    prompt_BT = jnp.array([[0, 1, 3], [2, 2, 3]])
    right_BT = jax.vmap(lambda x: running_sums.completion(DATA, x))(prompt_BT)
    found = distillation.accuracy(DATA, MODEL, params(), prompt_BT, right_BT)
    self.assertEqual([float(x) for x in found], [1, 1, 1])
    # The answers are wrong, the reasoning is not.
    wrong_BT = right_BT.at[:, -1].set((right_BT[:, -1] + 1) % 3)
    found = distillation.accuracy(DATA, MODEL, params(), prompt_BT, wrong_BT)
    self.assertEqual((found.raw, found.steps), (0, 1))
    answers_BT = jnp.concatenate([prompt_BT, right_BT[:, :-1]], axis=1)
    logits_BTV = transformer.Transformer(MODEL).apply(params(), answers_BT)
    hits_B = logits_BTV[:, -1].argmax(-1) == right_BT[:, -1]
    self.assertEqual(found.forced, hits_B.mean())

  def test_training_stops_when_it_is_enough(self):
    source = sources.from_sampler(running_sums.sampler(DATA), 4)
    evals = {"test": lambda params, key: {"share": jnp.array(0.5)}}
    problem = distillation.problem(DATA, MODEL, source, evals=evals)

    def stopped(least):
      return distillation.train_until(
        problem,
        optax.sgd(0.1),
        KEY,
        every=2,
        most=5,
        enough=lambda evals: evals["test/share"] >= least,
      )[1]

    steps = jax.jit(jax.vmap(stopped))(jnp.array([0.4, 0.6]))
    self.assertEqual(steps.tolist(), [0, 6])

  def test_a_student_sees_each_trace_once_in_an_epoch(self):
    rows = {"tokens": jnp.arange(4) * 10}
    drawn = distillation.drawn(rows, jnp.array([[2, 0], [1, 3]]))
    first, state = drawn.next(drawn.init(KEY))
    second, _ = drawn.next(state)
    self.assertEqual(first["tokens"].tolist(), [20, 0])
    self.assertEqual(second["tokens"].tolist(), [10, 30])
    orders_NB = distillation.orders(KEY, 6, epochs=2, batch_size=2)
    self.assertEqual(orders_NB.shape, (6, 2))
    for epoch in np.asarray(orders_NB).reshape(2, 6):
      self.assertCountEqual(epoch.tolist(), range(6))

  def test_traces_are_texts_whose_completions_are_learned(self):
    known = examples(3)
    texts_BT = jnp.concatenate(
      [known["tokens"], known["targets"][:, -1:]], axis=1
    )
    again = distillation.traces(DATA, texts_BT[:, :3], texts_BT[:, 3:])
    chex.assert_trees_all_equal(again, known)


if __name__ == "__main__":
  absltest.main()
