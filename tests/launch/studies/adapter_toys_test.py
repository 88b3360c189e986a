"""Tests for launch/studies/adapter_toys.py."""

from absl.testing import absltest
import chex
import jax
import numpy as np

from launch.studies import adapter_toys as toys


class AttentionTest(chex.TestCase):
  def test_singlora_has_loras_parameters_and_the_control_twice_as_many(self):
    cfg = toys.Attention()
    counts, drawn = {}, toys.draw_scores(cfg, jax.random.key(0))
    for arm in toys.ATTENTION_ARMS:
      init = toys.attention_problem(cfg, arm, drawn).init
      tree = jax.eval_shape(init, jax.random.key(1))
      counts[arm] = sum(x.size for x in jax.tree.leaves(tree))
    self.assertEqual(counts["lora"], 2 * 8 * (128 + 128))
    self.assertEqual(counts["singlora"], counts["lora"])
    self.assertEqual(counts["lora_rank"], 2 * counts["lora"])

  def test_both_kernels_are_learnt(self):
    cfg = toys.Attention(width=8, length=4, rank=2, num_steps=20)
    drawn = toys.draw_scores(cfg, jax.random.key(0))
    fitted = toys.attention_problem(cfg, "singlora", drawn)
    tree = fitted.init(jax.random.key(1))
    loss = lambda tree: fitted.loss(tree, {}, key=None, step=3)[0]
    for path, grad in jax.jit(jax.grad(loss))(tree).items():
      self.assertGreater(np.abs(grad).max(), 1e-3, path)


class WidthTest(chex.TestCase):
  def setUp(self):
    super().setUp()
    cfg = toys.Width((16, 4096), constants=(0.1,), num_steps=300, num_seeds=2)
    self.found = toys.width(cfg, 0)

  def test_rates_of_1_over_n_converge_and_of_its_root_do_not(self):
    for arm in ("lora", "singlora"):
      self.assertEqual(self.found[arm].shape, (2, 2, 1, 2))
      self.assertLess(self.found[arm][:, 1].max(), 1e-3)
      self.assertGreater(self.found[arm][1, 0].min(), 0.5)

  def test_a_target_opposed_to_the_input_keeps_its_component(self):
    opposed = self.found["opposed"]
    self.assertGreater(opposed.min(), 0.7**2 / 2 - 1e-4)
    self.assertLess(opposed.max(), 0.45)


class OthersTest(chex.TestCase):
  def test_row_adam_and_descent_are_invariant_and_adamw_is_not(self):
    cfg = toys.Invariance(width=6, rank=2, d_ins=(6,), num_seeds=2)
    for name, apart in toys.invariance(cfg, 0).items():
      self.assertEqual(apart.shape, (1, 2))
      if name == "AdamW":
        self.assertGreater(apart.min(), 0.01)
      else:
        self.assertLess(apart.max(), 1e-10)

  def test_all_of_a_change_is_in_reach_of_two_factors_of_full_rank(self):
    shares = toys.captured(6, (2, 6), 3, 0)
    np.testing.assert_allclose(shares["lora_rank"][-1], 1, rtol=1e-5)
    self.assertTrue((shares["lora"][-1] < 1).all())
    self.assertTrue((shares["singlora"] < shares["lora_rank"]).all())

  def test_the_trap_is_larger_by_n_over_r(self):
    norms = toys.initial_norms(24, 4, 2, 0)
    np.testing.assert_allclose(norms["r"], 6 * norms["n"], rtol=1e-5)
    self.assertTrue((norms["n"] < 1).all())


if __name__ == "__main__":
  absltest.main()
