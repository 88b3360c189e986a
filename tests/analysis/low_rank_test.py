"""Tests for simplex/analysis/low_rank.py."""

from absl.testing import absltest, parameterized
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis import low_rank


class CapturedTest(parameterized.TestCase):
  def test_a_change_of_the_adapters_own_form_is_captured_whole(self):
    a, b = jax.random.normal(jax.random.key(0), (2, 12, 3))
    pair, one = low_rank.captured_by_pair, low_rank.captured_by_one
    np.testing.assert_allclose(pair(a @ b.T, 3), 1, rtol=1e-5)
    np.testing.assert_allclose(one(a @ a.T, 3), 1, rtol=1e-5)
    np.testing.assert_allclose(pair(a @ a.T, 2), one(a @ a.T, 2), rtol=1e-5)

  def test_what_is_negative_or_antisymmetric_is_out_of_reach(self):
    a = jax.random.normal(jax.random.key(0), (6, 6))
    for change in (-a @ a.T, a - a.T):
      np.testing.assert_allclose(
        low_rank.captured_by_one(change, 6), 0, atol=1e-6
      )
      np.testing.assert_allclose(
        low_rank.captured_by_pair(change, 6), 1, rtol=1e-5
      )

  def test_known_spectra_give_known_shares(self):
    change = jnp.diag(jnp.array([3.0, -4.0, 1.0, 0.0]))
    for rank, pair, one in ((0, 0, 0), (1, 16, 9), (2, 25, 10), (4, 26, 10)):
      shares = (
        low_rank.captured_by_pair(change, rank),
        low_rank.captured_by_one(change, rank),
      )
      np.testing.assert_allclose(shares, (pair / 26, one / 26), rtol=1e-5)

  def test_no_single_factor_of_that_rank_comes_nearer(self):
    change, a = jax.random.normal(jax.random.key(1), (2, 5, 5))
    a = a[:, :2]
    far = lambda a: jnp.sum((a @ a.T - change) ** 2)
    descend = lambda _, a: a - 0.02 * jax.grad(far)(a)
    a = jax.lax.fori_loop(0, 500, descend, a)
    reached = 1 - far(a) / jnp.sum(change**2)
    best = low_rank.captured_by_one(change, 2)
    np.testing.assert_allclose(reached, best, atol=1e-3)

  @parameterized.parameters((8, 0.379, 0.164), (64, 1.0, 0.25))
  def test_one_factor_gets_a_quarter_of_a_gaussian_change(
    self, rank, pair, one
  ):
    changes = jax.random.normal(jax.random.key(0), (8, 64, 64))
    for fn, share in (
      (low_rank.captured_by_pair, pair),
      (low_rank.captured_by_one, one),
    ):
      got = jax.vmap(lambda x, fn=fn: fn(x, rank))(changes).mean()
      np.testing.assert_allclose(got, share, atol=0.02)

  def test_one_factor_needs_a_square_change(self):
    with self.assertRaisesRegex(AssertionError, r"\(3, 4\)"):
      low_rank.captured_by_one(jnp.ones((3, 4)), 1)


if __name__ == "__main__":
  absltest.main()
