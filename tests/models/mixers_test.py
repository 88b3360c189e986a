"""Tests for simplex/models/mixers.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp

from simplex.models import mixers

POSITIONS = jnp.arange(6)[None]


def made(name, **fields):
  """A mixer as a function of `(x_BTE, *rest)`, and an input."""
  x_key, init_key = jax.random.split(jax.random.key(0))
  x_BTE = jax.random.normal(x_key, (2, 6, 8))
  mixer = mixers.make(name, num_heads=2, implementation="reference", **fields)
  params = mixer.init(init_key, x_BTE, POSITIONS)
  return jax.jit(functools.partial(mixer.apply, params)), x_BTE


class MixersTest(chex.TestCase):
  @parameterized.parameters(*mixers.MIXERS)
  def test_no_output_depends_on_a_later_input(self, name):
    fn, x_BTE = made(name)
    totals = lambda x_BTE: fn(x_BTE, POSITIONS).sum((0, 2))
    d_x_TBSE = jax.jit(jax.jacrev(totals))(x_BTE)
    depends_TS = jnp.abs(d_x_TBSE).sum((1, 3)) > 1e-6
    self.assertEqual(depends_TS.tolist(), jnp.tri(6, dtype=bool).tolist())

  @parameterized.parameters(*mixers.MIXERS)
  def test_offset_of_positions_changes_nothing(self, name):
    fn, x_BTE = made(name)
    chex.assert_trees_all_close(
      fn(x_BTE, POSITIONS), fn(x_BTE, POSITIONS + 50), atol=1e-4
    )

  @parameterized.parameters(*mixers.MIXERS)
  def test_packed_sequences_do_not_meet(self, name):
    fn, x_BTE = made(name)
    positions_BT = jnp.array([[0, 1, 2, 0, 1, 2]])
    segments_BT = jnp.broadcast_to(jnp.arange(6) // 3, (2, 6))
    packed = fn(x_BTE, positions_BT, segments_BT)
    alone = [fn(x, POSITIONS[:, :3]) for x in jnp.split(x_BTE, 2, axis=1)]
    chex.assert_trees_all_close(packed, jnp.hstack(alone), atol=1e-5)

  @parameterized.parameters(("nope", True), ("softmax", False))
  def test_only_nope_ignores_the_order_of_the_past(self, name, same):
    fn, x_BTE = made(name)
    shuffled = x_BTE[:, jnp.array([3, 1, 0, 4, 2, 5])]
    last, other = (fn(x, POSITIONS)[:, -1] for x in (x_BTE, shuffled))
    self.assertEqual(bool(jnp.allclose(last, other, atol=1e-5)), same)

  @parameterized.parameters("rotary", "strassen")
  def test_positions_enter_the_forms_that_can_turn(self, form):
    fn, x_BTE = made(f"simplicial_{form}")
    without, _ = made(f"simplicial_{form}", rotary=False)
    shuffled = x_BTE[:, jnp.array([3, 1, 0, 4, 2, 5])]
    for mixer, same in ((fn, False), (without, True)):
      last, other = (mixer(x, POSITIONS)[:, -1] for x in (x_BTE, shuffled))
      self.assertEqual(bool(jnp.allclose(last, other, atol=1e-5)), same)

  def test_normalised_keys_have_no_length(self):
    x_key, init_key = jax.random.split(jax.random.key(0))
    x_BTE = jax.random.normal(x_key, (2, 6, 8))
    mixer = mixers.SimplicialMixer(num_heads=2)
    params = mixer.init(init_key, x_BTE, POSITIONS)
    scaled = jax.tree.map(lambda x: x, params)
    for name in ("query", "key_1", "key_2"):
      scaled["params"][name] = {"kernel": 7 * params["params"][name]["kernel"]}
    y, same = (mixer.apply(p, x_BTE, POSITIONS) for p in (params, scaled))
    chex.assert_trees_all_close(y, same, atol=1e-4)

  def test_key_heads_shrink_the_key_and_value_kernels(self):
    x_BTE = jnp.zeros((1, 3, 16))
    mixer = mixers.Softmax(num_heads=4, num_key_heads=2)
    params = mixer.init(jax.random.key(0), x_BTE, POSITIONS[:, :3])["params"]
    shapes = {name: p["kernel"].shape for name, p in params.items()}
    half, whole = (16, 8), (16, 16)
    expected = dict(query=whole, key=half, value=half, out=whole)
    self.assertEqual(shapes, expected)


if __name__ == "__main__":
  absltest.main()
