"""Tests for trainers/step.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.losses import tokens
from simplex.models import transformer
from simplex.types import Source
from tests.trainers import toy
from trainers.problem import Problem
from trainers.step import init_state, train_step

TX = optax.adam(0.1)
KEY = jax.random.key(0)


def quiet(problem):
  """The problem without noise, which microbatches draw for themselves."""

  def loss(params, batch, *, key, step):
    del key, step
    error_B = batch["x"] @ params["w"] - batch["y"]
    return jnp.mean(error_B**2), {"mean_x": batch["x"].mean()}

  return problem._replace(loss=loss)


class AccumulateTest(chex.TestCase):
  @parameterized.parameters(2, 4, 8)
  def test_microbatches_make_the_step_of_the_whole_batch(self, parts):
    problem = quiet(toy.problem())
    state = init_state(problem, TX, KEY)
    whole = train_step(problem, TX, state)
    split = train_step(problem, TX, state, accumulate=parts)
    chex.assert_trees_all_close(split, whole, rtol=1e-5, atol=1e-7)

  def test_every_microbatch_of_every_step_has_a_key_of_its_own(self):
    def loss(params, batch, *, key, step):
      del batch, step
      noise = jax.random.normal(key)
      return noise + 0 * params["w"].sum(), {"square": noise**2}

    problem = toy.problem()._replace(loss=loss)
    state = init_state(problem, TX, KEY)
    step = jax.jit(functools.partial(train_step, problem, TX, accumulate=2))
    seen = []
    for _ in range(3):
      state, metrics = step(state)
      # Mean and mean square of two numbers tell both.
      spread = np.sqrt(metrics["square"] - metrics["loss"] ** 2)
      seen += [metrics["loss"] - spread, metrics["loss"] + spread]
    self.assertLen(np.unique(np.round(seen, 3)), 6)


class PrecisionTest(chex.TestCase):
  def test_weights_of_bfloat16_activations_train_in_float32(self):
    batch = jax.random.randint(KEY, (4, 9), 0, 16)
    source = Source(
      lambda key: (),
      lambda state: (
        {"tokens": batch[:, :-1], "targets": batch[:, 1:]},
        state,
      ),
    )

    def problem(dtype):
      model = transformer.Transformer(
        transformer.Config(vocab_size=16, width=16, num_layers=1, dtype=dtype)
      )

      def loss(params, batch, *, key, step):
        del key, step
        logits_BTV = model.apply(params, batch["tokens"])
        return tokens.next_token(logits_BTV, batch["targets"])

      return Problem(lambda key: model.init(key, batch), loss, source)

    losses = []
    for dtype in ("float32", "bfloat16"):
      state = init_state(problem(dtype), TX, KEY)
      step = jax.jit(functools.partial(train_step, problem(dtype), TX))
      state, metrics = step(state)
      losses.append([metrics["loss"], step(state)[1]["loss"]])
      for x in jax.tree.leaves((state.params, state.opt_state)):
        self.assertIn(x.dtype, (jnp.float32, jnp.int32))
    np.testing.assert_allclose(*losses, rtol=0.02)
    self.assertTrue(np.all(np.not_equal(*losses)))


if __name__ == "__main__":
  absltest.main()
