"""Tests for simplex/models/attended.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.models import attended

FORMS = ("trilinear", "determinant", "rotary", "strassen")


class AttendedTest(chex.TestCase):
  @parameterized.parameters(*FORMS)
  def test_weights_sum_to_1_and_mix_the_values(self, form):
    keys = jax.random.split(jax.random.key(0), 5)
    shapes = ((2, 3, 2, 6), *[(2, 4, 2, 6)] * 4)
    q, k1, v1, k2, v2 = (
      jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)
    )
    weights_HSR = attended.pair_weights(q, k1, k2, form=form, scale=0.5)
    chex.assert_trees_all_close(weights_HSR.sum((1, 2)), jnp.ones(2), atol=1e-5)
    mixed = jnp.einsum("HSR,SHD,RHD->HD", weights_HSR, v1[0], v2[0])
    out = kernels.simplicial_attention(
      q, k1, v1, k2, v2, form=form, scale=0.5, implementation="reference"
    )
    chex.assert_trees_all_close(mixed, out[0, -1], atol=1e-5)


if __name__ == "__main__":
  absltest.main()
