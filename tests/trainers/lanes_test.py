"""Tests for trainers/lanes.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from trainers import lanes


def trainer(**kwargs):
  """Each lane walks from 0 to its target, 1 at a time."""
  settings = {
    "init": lambda key: jnp.zeros(()),
    "loss": lambda params, data, *, key, step: (
      jax.nn.relu(data["target"] - params),
      {},
    ),
    "fits": lambda params, data: jnp.abs(params - data["target"]) < 0.5,
    "optimizer": optax.sgd(1.0),
    "num_steps": 12,
    "chunk": 2,
  }
  return lanes.Trainer(**settings | kwargs)


def start(trained, count):
  data = {"target": jnp.arange(count) * 1.0}
  return lanes.start(trained, jax.random.split(jax.random.key(0), count), data)


class LanesTest(chex.TestCase):
  @parameterized.parameters((1, 3), (1, 9), (2, 5))
  def test_lanes_end_when_they_fit_and_no_later(self, at_once, count):
    trained = trainer(at_once=at_once)
    ended = {}
    for done, rest in lanes.run(trained, start(trained, count)):
      for index, step in zip(done.index, done.state.step, strict=True):
        ended[index] = step, done.state.params[list(done.index).index(index)]
      self.assertNoCommonElements(ended, rest.index)
    self.assertLen(ended, count)
    for index, (step, place) in ended.items():
      self.assertEqual(place, index)
      self.assertEqual(step, max(2, -(-index // 2) * 2))

  def test_all_end_with_the_updates(self):
    trained = trainer(num_steps=4)
    *_, (done, rest) = lanes.run(trained, start(trained, 6))
    np.testing.assert_array_equal(done.index, [3, 4, 5])
    np.testing.assert_array_equal(done.state.params, [3, 4, 4])
    self.assertEmpty(rest.index)

  def test_patience_waits_for_more_chunks_and_zero_for_ever(self):
    for patience, steps in {1: 2, 3: 6, 0: 12}.items():
      trained = trainer(patience=patience)
      last = [done for done, _ in lanes.run(trained, start(trained, 1))][-1]
      self.assertEqual(last.state.step, [steps])

  def test_a_stopped_run_continues_as_if_it_had_not_been(self):
    noisy = lambda params, data, *, key, step: (
      params * jax.random.normal(key) + data["target"] * step,
      {},
    )
    trained = trainer(loss=noisy, fits=lambda *_: jnp.array(False), num_steps=6)
    ends = [done for done, _ in lanes.run(trained, start(trained, 5))][-1]
    _, rest = next(lanes.run(trained, start(trained, 5)))
    saved = jax.tree.map(np.copy, rest)
    again = [done for done, _ in lanes.run(trained, saved)][-1]
    chex.assert_trees_all_equal(ends, again)
    # Lanes differ by their data and by their keys.
    self.assertLen(set(ends.state.params.tolist()), 5)

  def test_a_chunk_must_divide_the_updates(self):
    trained = trainer(num_steps=5)
    with self.assertRaisesRegex(ValueError, "chunk=2 does not divide"):
      start(trained, 1)


if __name__ == "__main__":
  absltest.main()
