"""Tests for launch/studies/protected_traces.py."""

import dataclasses
import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.experiments import antidistillation
from launch.studies import protected_traces
from simplex.models import transformer
from simplex.sampling import directions, transforms

CONFIG = dataclasses.replace(
  antidistillation.tiny(),
  proxy=dataclasses.replace(antidistillation.tiny().proxy, num_layers=1),
)
SIZES = antidistillation.sizes(CONFIG)
KEY = jax.random.key(0)


@functools.cache
def made():
  """Held-out traces, a proxy and its penalties."""
  held_out = protected_traces.clean(SIZES, KEY, 4)
  model = transformer.Transformer(CONFIG.proxy)
  proxy = jax.jit(model.init)(KEY, held_out["tokens"])
  along = jax.jit(functools.partial(protected_traces.penalties, SIZES))(
    proxy, held_out, KEY
  )
  return held_out, proxy, along


@functools.cache
def adding():
  """`cell -> what it adds` to logits of zero, after the questions."""
  held_out, proxy, along = made()
  prompt_BT = held_out["tokens"][:, : CONFIG.data.prompt_length]
  keys = dict.fromkeys(protected_traces.KEYS, KEY)

  def fn(cell):
    transform = protected_traces.protection(
      SIZES, proxy, along, cell, keys, len(prompt_BT)
    )
    state = transforms.State(prompt_BT, transform.memory)
    shape = (len(prompt_BT), CONFIG.data.vocab_size)
    return transform.apply(jnp.zeros(shape), state)[0]

  return jax.jit(fn)


def added(**cell):
  return adding()(protected_traces.Cell(**cell))


@functools.cache
def delta(which):
  """Of the whole pass: derivatives of one nat after every token."""
  held_out, proxy, along = made()
  fn = protected_traces.log_probs(CONFIG.proxy, held_out["tokens"])
  direction = jax.tree.map(lambda x: x[which], along.direction)
  log_probs_BTV, delta_BTV = directions.derivative(fn, proxy, direction)
  return log_probs_BTV, along.weight[which] * delta_BTV


class ProtectedTracesTest(chex.TestCase):
  def test_weights_are_of_one_nat(self):
    mask_BT = np.asarray(made()[0]["mask"], bool)
    for which in (0, 1):
      sizes = np.abs(np.asarray(delta(which)[1]))[mask_BT]
      self.assertAlmostEqual(np.quantile(sizes, 0.99), 1, places=3)

  def test_penalties_are_those_of_the_whole_pass(self):
    last = CONFIG.data.prompt_length - 1
    for which, name in enumerate(("nats", "random_nats")):
      expected_BV = 3 * delta(which)[1][:, last]
      chex.assert_trees_all_close(added(**{name: 3.0}), expected_BV, atol=1e-4)

  def test_a_shuffled_penalty_has_the_same_sizes(self):
    sorted_BV = lambda x: jnp.sort(jnp.abs(x))
    chex.assert_trees_all_close(
      sorted_BV(added(shuffled_nats=3.0)), sorted_BV(added(nats=3.0)), atol=1e-5
    )

  def test_a_whole_product_is_the_proxy_and_no_penalty_is_nothing(self):
    last = CONFIG.data.prompt_length - 1
    chex.assert_trees_all_close(
      jax.nn.log_softmax(added(product=1.0)), delta(0)[0][:, last], atol=1e-4
    )
    chex.assert_trees_all_equal(added(), jnp.zeros_like(added()))

  def test_a_student_that_weighs_traces_alike_has_no_preference(self):
    held_out, _, _ = made()
    model = transformer.Transformer(CONFIG.student)
    student = jax.jit(model.init)(KEY, held_out["tokens"])
    weights = protected_traces.attacker_weights(
      SIZES, student, held_out, held_out
    )
    chex.assert_trees_all_close(weights(0.0), jnp.ones(4), atol=1e-5)
    self.assertGreater(float(weights(1.0).max()), 1.1)


if __name__ == "__main__":
  absltest.main()
