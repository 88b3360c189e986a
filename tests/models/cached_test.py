"""Tests for simplex/models/cached.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.models import cached, mixers

POSITIONS = jnp.arange(7)[None]


def made(name="softmax", **fields):
  """A mixer, its parameters and an input of two texts."""
  mixer = mixers.make(name, num_heads=4, num_key_heads=2, **fields)
  x_BTE = jax.random.normal(jax.random.key(0), (2, 7, 16))
  params = jax.jit(mixer.init)(jax.random.key(1), x_BTE, POSITIONS)
  return mixer, params, x_BTE


class CachedTest(chex.TestCase):
  @parameterized.parameters(
    dict(),
    dict(name="nope", windows=(3,)),
    dict(name="softmax_shift", scale=0.7),
    dict(name="softmax_shift", dtype="bfloat16", tol=2e-2),
  )
  def test_chunks_equal_the_whole(self, tol=1e-5, **fields):
    mixer, params, x_BTE = made(**fields)
    whole = jax.jit(mixer.apply)(params, x_BTE, POSITIONS)
    cache = mixer.init_cache(2, 7, 16)
    extend = jax.jit(functools.partial(mixer.apply, method="extend"))
    outs = []
    for start, end in ((0, 1), (1, 5), (5, 6), (6, 7)):
      y_BTE, cache = extend(params, x_BTE[:, start:end], cache)
      outs.append(y_BTE)
    chex.assert_trees_all_close(jnp.hstack(outs), whole, atol=tol)

  def test_prompts_of_different_length_go_on_as_if_alone(self):
    mixer, params, x_BTE = made("softmax_shift")
    extend = jax.jit(functools.partial(mixer.apply, method="extend"))
    cache = mixer.init_cache(2, 7, 16, jnp.array([3, 0]))
    _, cache = extend(params, x_BTE[:, :5], cache)
    both, _ = extend(params, x_BTE[:, 5:], cache)
    short = jax.jit(mixer.apply)(params, x_BTE[:1, 3:], POSITIONS[:, :4])
    chex.assert_trees_all_close(both[:1], short[:, 2:], atol=1e-5)

  def test_a_window_bounds_the_cache(self):
    mixer, _, _ = made(windows=(3,))
    chex.assert_shape(mixer.init_cache(2, 9, 16).attention.k, (2, 2, 3, 4))
    chex.assert_shape(mixer.init_cache(2, 2, 16).attention.k, (2, 2, 2, 4))

  def test_shifted_keys_are_means_of_neighbours(self):
    k_BTGD = jax.random.normal(jax.random.key(0), (2, 5, 1, 3))
    y_BTGD = cached.shift(k_BTGD, 0.5, None, None)
    means = (k_BTGD[:, 1:] + k_BTGD[:, :-1]) / 2
    chex.assert_trees_all_close(y_BTGD[:, 1:], means)
    chex.assert_trees_all_close(y_BTGD[:, 0], k_BTGD[:, 0] / 2)

  def test_a_shift_stays_in_its_segment(self):
    k_BTGD = jnp.arange(1.0, 7).reshape(1, 6, 1, 1)
    segments_BT = jnp.array([[-1, 0, 0, 2, 2, 2]])
    before_B1GD = jnp.full((1, 1, 1, 1), 9.0)
    y_BTGD = cached.shift(k_BTGD, 1.0, before_B1GD, segments_BT)
    self.assertEqual(y_BTGD[0, :, 0, 0].tolist(), [9, 0, 2, 0, 4, 5])
    for at, expected in ((1, 0), (2, 2)):
      newest_B1GD = cached.newest(k_BTGD[:, :at], segments_BT[:, :at])
      self.assertEqual(newest_B1GD.item(), expected)

  @parameterized.parameters(
    (dict(causal=False), "not causal=False and num_queries=None"),
    (dict(num_queries=1), "not causal=True and num_queries=1"),
  )
  def test_what_cannot_go_on_says_so(self, fields, message):
    mixer, params, x_BTE = made(**fields)
    cache = mixer.init_cache(2, 7, 16)
    with self.assertRaisesRegex(ValueError, message):
      mixer.apply(params, x_BTE, cache, method="extend")


if __name__ == "__main__":
  absltest.main()
