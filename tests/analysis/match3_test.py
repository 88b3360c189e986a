"""Tests for simplex/analysis/match3.py."""

import functools
import itertools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex import kernels
from simplex.analysis import match3

M, N = 37, 32

attention = functools.partial(
  kernels.simplicial_attention,
  scale=1.0,
  causal=False,
  implementation="reference",
)


def sequences(count, length=N):
  """Residues of few kinds, so that about half of the positions match."""
  rng = np.random.default_rng(0)
  kinds = [
    rng.choice(M, rng.integers(1, 9), replace=False) for _ in range(count)
  ]
  return np.stack([rng.choice(kind, length) for kind in kinds])


def matches(tokens_T):
  pairs = {(j + k) % M for j, k in itertools.product(tokens_T, repeat=2)}
  return [-int(i) % M in pairs for i in tokens_T]


def outputs(tokens_BT, form, c):
  head = match3.head(jnp.asarray(tokens_BT), M, form, c)
  return np.asarray(jax.jit(functools.partial(attention, form=form))(*head))


class Match3Test(chex.TestCase):
  @parameterized.parameters(*match3.FORMS)
  def test_every_position_of_200_sequences_is_answered(self, form):
    tokens_BT = sequences(200)
    expected_BT = np.array([matches(row) for row in tokens_BT])
    self.assertBetween(expected_BT.mean(), 0.3, 0.8)
    out_BTHD = outputs(tokens_BT, form, match3.sharpness(N, M))
    self.assertEqual(out_BTHD.dtype, np.float32)
    found_BT = out_BTHD[:, :, 0, 0] > match3.THRESHOLD
    np.testing.assert_array_equal(found_BT, expected_BT)

  def test_four_channels_do_when_the_values_are_the_keys(self):
    tokens_BT = sequences(200)
    head = match3.cosine_head(tokens_BT, M, match3.sharpness(N, M))
    out_BTHD = attention(*head, form="trilinear")
    unit_BTHD = match3.cosine_head(tokens_BT, M, 1.0).q
    mean_BT = (out_BTHD * unit_BTHD).sum((2, 3))
    expected_BT = np.array([matches(row) for row in tokens_BT])
    np.testing.assert_array_equal(
      mean_BT > match3.cosine_threshold(M), expected_BT
    )

  @parameterized.parameters(("determinant", 7), ("trilinear", 5), ("rotary", 3))
  def test_heads_are_as_narrow_as_the_docstring_says(self, form, width):
    self.assertEqual(
      match3.head(jnp.zeros((1, 2)), M, form, 1.0).q.shape[-1], width
    )
    self.assertEqual(
      match3.cosine_head(jnp.zeros((1, 2)), M, 1.0).q.shape[-1], 4
    )

  @parameterized.parameters(*match3.FORMS)
  def test_one_match_weighs_a_half(self, form):
    # Of the pairs with 1, only (2, M - 3) sums to M - 1, in both orders.
    out = outputs([[1, 2, M - 3, 9]], form, match3.sharpness(4, M, 1e-6))
    np.testing.assert_allclose(out[0, 0, 0], 2 / 3, atol=1e-4)
    # A pair of a position with itself comes in one order.
    x = -1 * (M + 1) // 2 % M
    out = outputs([[1, x, 3]], form, match3.sharpness(3, M, 1e-6))
    np.testing.assert_allclose(out[0, 0, 0], 1 / 2, atol=1e-4)

  @parameterized.product(form=list(match3.FORMS), share=(0.5, 1.0, 2.0))
  def test_near_misses_weigh_a_half_at_the_limit_of_sharpness(
    self, form, share
  ):
    # Three times this residue is 1 mod M: each of n^2 pairs misses by one.
    near = pow(3, -1, M)
    gap = 1 - np.cos(2 * np.pi / M)
    c = share * np.log(N**2) / gap
    leak = N**2 * np.exp(-c * gap)
    out = outputs([[near] * N], form, c)
    np.testing.assert_allclose(out, leak / (1 + leak), rtol=2e-3)
    self.assertEqual(bool((out > 0.5 + 1e-3).all()), share < 1)

  def test_sharpness_bounds_the_leak(self):
    c = match3.sharpness(N, M, 1e-3)
    leak = N**2 * np.exp(-c * (1 - np.cos(2 * np.pi / M)))
    self.assertAlmostEqual(leak, 1e-3)

  def test_a_form_without_a_construction_is_an_error(self):
    with self.assertRaisesRegex(ValueError, "form='strassen'.*'determinant'"):
      match3.head(jnp.zeros((1, 2)), M, "strassen", 1.0)


if __name__ == "__main__":
  absltest.main()
