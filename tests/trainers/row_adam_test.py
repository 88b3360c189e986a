"""Tests for trainers/row_adam.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from trainers import row_adam


def product(a, d_in):
  """The change of SingLoRA, `[d_in, n]`, by one matrix."""
  return a[:d_in] @ a.T


def run(tx, a, d_in):
  """What becomes of the product in 20 steps towards a random matrix."""
  goal = jax.random.normal(jax.random.key(2), (d_in, len(a)), a.dtype)
  loss = lambda a: jnp.sum((product(a, d_in) - goal) ** 2)

  def step(state, _):
    a, opt_state = state
    updates, opt_state = tx.update(jax.grad(loss)(a), opt_state, a)
    return (optax.apply_updates(a, updates), opt_state), None

  (end, _), _ = jax.lax.scan(step, (a, tx.init(a)), length=20)
  return product(end, d_in)


OPTIMIZERS = {
  "sgd": lambda: optax.sgd(1e-3, momentum=0.9, nesterov=True),
  "row_adam": lambda: optax.chain(
    row_adam.scale_by_row_adam(), optax.scale(-0.02)
  ),
  "adamw": lambda: optax.adamw(0.02),
}


def deviation(name, d_in):
  """Of the products from A and from A Q, relative, in float64."""
  with jax.enable_x64(True):
    a = 0.3 * jax.random.normal(jax.random.key(0), (12, 4), jnp.float64)
    q, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(1), (4, 4)))
    ends = jax.jit(jax.vmap(lambda a: run(OPTIMIZERS[name](), a, d_in)))(
      jnp.stack((a, a @ q))
    )
    start = product(a, d_in)
    size = jnp.linalg.norm(ends[0] - start)
    return float(jnp.linalg.norm(ends[0] - ends[1]) / size)


class RotationTest(parameterized.TestCase):
  """Bensaid et al. 2025, theorems 2 and 3: A and A Q are one adapter."""

  @parameterized.product(name=("sgd", "row_adam"), d_in=(12, 5))
  def test_a_rotation_of_the_rank_axis_changes_nothing(self, name, d_in):
    self.assertLess(deviation(name, d_in), 1e-12)

  @parameterized.parameters(12, 5)
  def test_it_changes_the_run_of_adamw(self, d_in):
    self.assertGreater(deviation("adamw", d_in), 0.1)


class RowAdamTest(chex.TestCase):
  def test_one_column_and_vectors_are_those_of_adam(self):
    params = {"column": jnp.ones((3, 1)), "vector": jnp.ones(3)}
    ends = []
    for tx in (
      row_adam.scale_by_row_adam(0.8, 0.9),
      optax.scale_by_adam(0.8, 0.9),
    ):
      state = tx.init(params)
      for scale in (1.0, -3.0, 0.5):
        grads = jax.tree.map(
          lambda x, s=scale: s * (1 + jnp.arange(3.0)).reshape(x.shape), params
        )
        updates, state = tx.update(grads, state)
      ends.append(updates)
    chex.assert_trees_all_close(*ends, rtol=1e-6)

  def test_a_row_shares_the_mean_square_of_its_entries(self):
    tx = row_adam.scale_by_row_adam()
    grads = jnp.array([[3.0, 4.0, 0.0, 0.0], [0.1, 0.1, -0.1, 0.1]])
    updates, state = tx.update(grads, tx.init(grads))
    self.assertEqual(state.nu.shape, (2, 1))
    np.testing.assert_allclose(
      updates, [[1.2, 1.6, 0, 0], [1, 1, -1, 1]], rtol=1e-5
    )


if __name__ == "__main__":
  absltest.main()
