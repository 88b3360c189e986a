"""Tests for simplex/models/automaton.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import automaton

SMALL = automaton.Config(
  num_colors=3, hidden_channels=2, perception_width=4, width=5, steps=3
)
GROWING = dataclasses.replace(
  SMALL,
  filters=("identity", "sobel_x", "sobel_y"),
  residual=True,
  temperature=None,
  normalized=False,
)


def grids(*shape):
  return jax.random.randint(jax.random.key(7), shape, 0, 3)


class AutomatonTest(chex.TestCase):
  def test_the_papers_automaton_has_10410_parameters(self):
    params = automaton.init_params(automaton.Config(), jax.random.key(0))
    self.assertEqual(sum(x.size for x in jax.tree.leaves(params)), 10_410)

  @parameterized.parameters(1, 2)
  def test_padding_never_leaks(self, dilation):
    cfg = dataclasses.replace(SMALL, dilations=(1, dilation), steps=4)
    rule = automaton.init_params(cfg, jax.random.key(0))
    grid = grids(4, 5)
    padded = jnp.full((2, 9, 8), -1).at[1, :4, :5].set(grid)
    # What lies outside is not even 0.
    state = automaton.init_state(cfg, padded) + (padded < 0)[..., None]

    def total(rule, state, mask):
      last, colours = automaton.rollout(cfg, rule, state, mask)
      return jnp.sum(colours[..., 0]), (last, colours)

    run = jax.jit(jax.grad(total, has_aux=True))
    alone = run(rule, automaton.init_state(cfg, grid), jnp.ones((4, 5)))
    grads, (last, colours) = run(rule, state, padded >= 0)
    chex.assert_trees_all_close(
      (grads, (last[1, :4, :5], colours[:, 1, :4, :5])), alone, atol=1e-6
    )
    self.assertEqual(jnp.abs(last).sum(), jnp.abs(last[1, :4, :5]).sum())

  def test_a_single_row_needs_a_kernel_of_one_row_alone(self):
    square = automaton.init_params(SMALL, jax.random.key(0))
    row = automaton.init_params(SMALL, jax.random.key(0), height=1)
    layer = square["perception"]
    kernel = layer["kernel"][:, 1:2]
    chex.assert_equal_shape([row["perception"]["kernel"], kernel])
    row = square | {"perception": layer | {"kernel": kernel}}
    state = automaton.init_state(SMALL, grids(1, 7))
    chex.assert_trees_all_close(
      automaton.rollout(SMALL, row, state, jnp.ones((1, 7))),
      automaton.rollout(SMALL, square, state, jnp.ones((1, 7))),
      atol=1e-6,
    )

  def test_a_shifted_pattern_grows_shifted_away_from_walls(self):
    rule = automaton.init_params(SMALL, jax.random.key(0))
    grid = jnp.zeros((2, 12, 12), int)
    grid = grid.at[0, 5:7, 5].set(1).at[1, 6:8, 7].set(1)
    _, colours = automaton.rollout(
      SMALL, rule, automaton.init_state(SMALL, grid), jnp.ones((12, 12))
    )
    first, second = colours[:, 0, 3:8, 3:7], colours[:, 1, 4:9, 5:9]
    np.testing.assert_allclose(first, second, atol=1e-6)
    self.assertGreater(np.ptp(first), 0.01)

  def test_a_torus_has_no_place_of_its_own(self):
    cfg = dataclasses.replace(SMALL, boundary="torus", dilations=(1, 2))
    rule = automaton.init_params(cfg, jax.random.key(0))
    state = automaton.init_state(cfg, grids(2, 5, 6))
    run = lambda state: automaton.rollout(cfg, rule, state, jnp.ones((5, 6)))
    roll = lambda x: jnp.roll(x, (2, 3), axis=(-3, -2))
    chex.assert_trees_all_close(
      run(roll(state)), jax.tree.map(roll, run(state)), atol=1e-6
    )

  def test_colours_are_probabilities(self):
    rule = automaton.init_params(SMALL, jax.random.key(0))
    state = automaton.init_state(SMALL, grids(4, 5))
    _, colours = automaton.rollout(
      SMALL, rule, state, jnp.ones((4, 5)), jax.random.key(1), drop=0.5
    )
    chex.assert_shape(colours, (3, 4, 5, 3))
    np.testing.assert_allclose(colours.sum(-1), 1.0, atol=1e-5)

  def test_targets_choose_one_colour_of_each_cell(self):
    rule = automaton.init_params(SMALL, jax.random.key(0))
    grid = grids(2, 4, 5)
    args = SMALL, rule, automaton.init_state(SMALL, grid), jnp.ones((4, 5))
    targets = (grid + 1) % 3
    last, colours = automaton.rollout(*args)
    same, right = automaton.rollout(*args, targets_YX=targets)
    expected = jnp.take_along_axis(colours, targets[None, ..., None], -1)
    np.testing.assert_allclose(right, expected[..., 0], atol=1e-6)
    np.testing.assert_allclose(same, last, atol=1e-6)

  def test_a_batch_is_its_grids_one_by_one(self):
    rule = automaton.init_params(SMALL, jax.random.key(0))
    state = automaton.init_state(SMALL, grids(2, 3, 4, 5))

    @jax.jit
    def run(state):
      return automaton.rollout(SMALL, rule, state, jnp.ones((4, 5)))

    together = run(state)
    alone = jax.vmap(jax.vmap(run))(state)
    chex.assert_trees_all_close(together[0], alone[0], atol=1e-6)
    np.testing.assert_allclose(
      together[1], jnp.moveaxis(alone[1], 2, 0), atol=1e-6
    )

  @parameterized.parameters("blend", "skip")
  def test_as_many_cells_hold_back_as_they_should(self, hold):
    cfg = dataclasses.replace(SMALL, hold=hold, steps=1)
    rule = automaton.init_params(cfg, jax.random.key(0))
    before = jnp.broadcast_to(jnp.arange(5.0), (2, 60, 50, 5))
    run = lambda key: automaton.rollout(
      cfg, rule, before, jnp.ones((60, 50)), key, drop=jnp.array([0.2, 0.7])
    )[0][..., 4]
    fired, mixed = run(None), run(jax.random.key(1))
    # How much of the old state is left, in [0, 1].
    share = (mixed - fired) / (before[..., 4] - fired)
    held_back = share > 1e-4
    np.testing.assert_allclose(held_back.mean((1, 2)), [0.2, 0.7], atol=0.03)
    for shares, held in zip(share, held_back, strict=True):
      mean = {"blend": 0.5, "skip": 1.0}[hold]
      np.testing.assert_allclose(shares[held].mean(), mean, atol=0.04)
      deviation = {"blend": 12**-0.5, "skip": 0.0}[hold]
      np.testing.assert_allclose(shares[held].std(), deviation, atol=0.03)

  def test_drops_are_below_the_largest(self):
    drops = automaton.random_drop(SMALL, jax.random.key(0), (4000,))
    self.assertBetween(drops.min(), 0.0, 0.01)
    self.assertBetween(drops.max(), 0.74, 0.75)

  def test_a_new_residual_rule_changes_nothing(self):
    rule = automaton.init_params(GROWING, jax.random.key(0))
    state = automaton.init_state(GROWING, grids(4, 5))
    last, _ = automaton.rollout(GROWING, rule, state, jnp.ones((4, 5)))
    np.testing.assert_array_equal(last, state)

  def test_life_spreads_by_one_cell_a_step_and_only_from_life(self):
    cfg = dataclasses.replace(GROWING, alive_channel=2)
    rule = automaton.init_params(cfg, jax.random.key(0))
    rule["out"]["bias"] = jnp.ones_like(rule["out"]["bias"])
    grid = jnp.full((9, 9), -1).at[4, 4].set(2)
    state = automaton.init_state(cfg, grid)
    for steps in (1, 2):
      last, _ = automaton.rollout(
        cfg, rule, state, jnp.ones((9, 9)), steps=steps
      )
      near = slice(4 - steps, 5 + steps)
      expected = np.zeros((9, 9), bool)
      expected[near, near] = True
      np.testing.assert_array_equal((last != 0).all(-1), expected)
      np.testing.assert_array_equal((last != 0).any(-1), expected)

  def test_the_module_is_the_functions(self):
    net = automaton.Automaton(SMALL)
    state = automaton.init_state(SMALL, grids(4, 5))
    mask = jnp.ones((4, 5))
    variables = net.init(jax.random.key(0), state, mask)
    chex.assert_trees_all_equal(
      net.apply(variables, state, mask, steps=2),
      automaton.rollout(
        SMALL, variables["params"]["rule"], state, mask, steps=2
      ),
    )

  def test_colours_outside_are_nothing(self):
    state = automaton.init_state(SMALL, jnp.array([[-1, 2, 3]]))
    expected = [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(state[0], expected)

  def test_bad_settings_are_named(self):
    for text, kwargs in {
      "num_colors=0 must be at least 1": {"num_colors": 0},
      "hidden_channels=-1": {"hidden_channels": -1},
      "hold='half' is not one of": {"hold": "half"},
      "boundary='sphere'": {"boundary": "sphere"},
      r"filters \['blur'\] are not among": {"filters": ("blur",)},
      "kernel=4 must be odd": {"kernel": 4},
      "kernel=5 must be odd, and 3 with": {
        "kernel": 5,
        "filters": ("identity",),
      },
      r"dilations=\(0,\)": {"dilations": (0,)},
      "max_drop=1.0": {"max_drop": 1.0},
      "alive_channel=30 is not one of the 30": {"alive_channel": 30},
    }.items():
      with self.assertRaisesRegex(ValueError, text):
        automaton.Config(**kwargs)


if __name__ == "__main__":
  absltest.main()
