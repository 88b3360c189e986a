"""Tests for trainers/accumulation.py."""

import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp

from trainers import accumulation


def loss(params, piece):
  error = jnp.sum((params["a"] * piece["x"] - piece["y"]) ** 2)
  return error + params["b"], {"largest": jnp.max(piece["x"])}


class AccumulationTest(chex.TestCase):
  def test_a_sum_and_its_gradient_are_those_of_all_at_once(self):
    keys = jax.random.split(jax.random.key(0), 4)
    pieces = {
      "x": jax.random.normal(keys[0], (5, 3)),
      "y": jnp.arange(15).reshape(5, 3),
    }
    params = {"a": jax.random.normal(keys[1], (3,)), "b": jnp.ones(())}

    def at_once(params, pieces):
      values = jax.vmap(functools.partial(loss, params))(pieces)
      return jax.tree.map(lambda x: x.sum(0), values)

    def run(fn):
      doubled = lambda *args: jax.tree.map(lambda x: 2 * x, fn(*args))
      return jax.jit(jax.value_and_grad(doubled, has_aux=True))(params, pieces)

    summed = functools.partial(accumulation.total, loss)
    chex.assert_trees_all_close(run(summed), run(at_once), rtol=1e-5)
    chex.assert_trees_all_close(
      summed(params, pieces), at_once(params, pieces), rtol=1e-5
    )

  def test_lanes_accumulate_under_vmap(self):
    params = {"a": jnp.ones((4, 3)), "b": jnp.arange(4.0)}
    pieces = {"x": jnp.ones((4, 5, 3)), "y": jnp.zeros((4, 5, 3))}
    gradient = jax.grad(lambda *args: accumulation.total(loss, *args)[0])
    grads = jax.vmap(gradient)(params, pieces)
    chex.assert_trees_all_close(
      grads, {"a": jnp.full((4, 3), 10.0), "b": jnp.full(4, 5.0)}
    )


if __name__ == "__main__":
  absltest.main()
