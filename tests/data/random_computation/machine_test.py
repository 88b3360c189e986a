from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data.random_computation import machine


class LawTest(chex.TestCase):
  def test_log_uniform_has_a_geometric_median_and_keeps_its_bounds(self):
    draws = machine.LogUniform(1e-3, 10.0).draw(jax.random.key(0), (4001,))
    self.assertBetween(float(jnp.median(draws)), 0.08, 0.12)
    self.assertBetween(float(draws.min()), 0.99e-3, 2e-3)
    self.assertBetween(float(draws.max()), 5.0, 10.01)

  def test_power_is_taken_after_the_draw(self):
    law = machine.Uniform(1.0, 3.5)
    np.testing.assert_allclose(
      law._replace(power=4).draw(jax.random.key(0)),
      law.draw(jax.random.key(0)) ** 4,
      rtol=1e-6,
    )

  def test_a_fixed_law_has_one_value(self):
    self.assertEqual(float(machine.fixed(1.5).draw(jax.random.key(0))), 1.5)


if __name__ == "__main__":
  absltest.main()
