"""Tests for simplex/analysis/dynamics/solvers.py and methods.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import methods, solvers

# Not symmetric, with a complex pair of eigenvalues.
MATRIX = np.array(
  [[0.5, 0.9, 0.0], [0.0, 0.3, -0.6], [0.0, 0.6, 0.3]], np.float32
)
FIXED = np.linalg.solve(np.eye(3) - MATRIX, np.ones(3))


def affine(z_D):
  return MATRIX @ z_D + 1


def starts(N=300):
  return jax.random.normal(jax.random.key(0), (N, 3))


def cubic_newton(z_D):
  """Newton's map of z^3 - 1, on pairs of real numbers."""
  z = jax.lax.complex(z_D[0], z_D[1])
  z = z - (z**3 - 1) / (3 * z**2)
  return jnp.stack([z.real, z.imag])


class SolversTest(chex.TestCase):
  @parameterized.parameters(
    methods.picard(),
    methods.picard(0.5),
    methods.anderson(),
    methods.newton_krylov(),
  )
  def test_every_method_finds_the_fixed_point_of_an_affine_map(self, *method):
    solution = solvers.solve(
      affine, starts(40), method=methods.Method(*method), tolerance=1e-6
    )
    np.testing.assert_array_equal(solution.status_N, solvers.CONVERGED)
    np.testing.assert_allclose(
      solution.points, np.tile(FIXED, (40, 1)), atol=2e-5
    )

  def test_newton_needs_one_step_and_anderson_few_on_an_affine_map(self):
    newton = solvers.solve(affine, starts(4), method=methods.newton_krylov())
    mixed = solvers.solve(affine, starts(4), method=methods.anderson())
    plain = solvers.solve(affine, starts(4))
    np.testing.assert_array_equal(newton.steps_N, 1)
    self.assertLessEqual(int(mixed.steps_N.max()), 5)
    self.assertGreater(int(plain.steps_N.min()), 15)

  def test_samples_in_a_batch_are_as_they_are_alone(self):
    together = solvers.solve(affine, starts(), tolerance=1e-4)
    steps_N, points_ND = [], []
    for z_D in np.asarray(starts()):
      steps = 0
      while np.linalg.norm(affine(z_D) - z_D) > 1e-4:
        z_D, steps = np.asarray(affine(z_D), np.float32), steps + 1
      steps_N.append(steps)
      points_ND.append(z_D)
    self.assertGreater(len(set(steps_N)), 3)
    np.testing.assert_array_equal(together.steps_N, steps_N)
    np.testing.assert_allclose(together.points, points_ND, atol=1e-6)

  def test_newtons_map_goes_to_the_roots_of_unity(self):
    grid_N2 = jax.random.uniform(jax.random.key(1), (64, 2), minval=-2.0)
    ends_N2 = solvers.solve(cubic_newton, grid_N2, tolerance=1e-5).points
    ends_N = np.asarray(ends_N2) @ [1, 1j]
    np.testing.assert_allclose(ends_N**3, 1, atol=1e-3)
    self.assertLen(np.unique(np.round(ends_N, 2)), 3)

  def test_points_may_be_trees(self):
    fn = lambda z: {"a": z["a"] / 2 + 1, "b": z["a"][:, None] * z["b"] / 4}
    tree = {"a": jnp.zeros((5, 2)), "b": jnp.ones((5, 2, 3))}
    points = solvers.solve(fn, tree, tolerance=1e-6).points
    np.testing.assert_allclose(points["a"], 2, atol=1e-5)
    np.testing.assert_allclose(points["b"], 0, atol=1e-5)

  def test_a_sample_that_is_not_finite_is_reported_and_the_others_go_on(self):
    fn = lambda z_D: jnp.where(z_D > 1, jnp.log(-z_D), z_D / 2)
    bad = jnp.asarray([[1.0], [3.0], [jnp.nan], [0.5]])
    solution = solvers.solve(fn, bad)
    np.testing.assert_array_equal(solution.status_N, [0, 2, 2, 0])
    np.testing.assert_array_equal(solution.points[1], [3.0])
    lines = solvers.failures(solution)
    self.assertLen(lines, 2)
    self.assertStartsWith(lines[0], "sample 1: not finite after 0 steps")

  def test_a_later_infinity_keeps_the_last_finite_iterate(self):
    solution = solvers.solve(lambda z: z * z, jnp.asarray([[4.0]]))
    self.assertEqual(int(solution.status_N[0]), solvers.NOT_FINITE)
    self.assertTrue(np.isfinite(solution.points).all())
    self.assertGreater(int(solution.steps_N[0]), 2)

  def test_a_spent_budget_is_reported(self):
    solution = solvers.solve(lambda z: z + 1, jnp.zeros((2, 1)), budget=7)
    np.testing.assert_array_equal(solution.steps_N, 7)
    self.assertIn("sample 0: budget spent", solvers.failures(solution)[0])

  def test_a_singular_system_is_counted_and_solved_by_fewer_differences(self):
    # In one dimension every second difference depends on the first.
    solution = solvers.solve(
      lambda z: z / 2 + 0.1 * jnp.sin(z),
      jnp.ones((1, 1)),
      method=methods.anderson(3),
      tolerance=1e-6,
    )
    self.assertEqual(int(solution.status_N[0]), solvers.CONVERGED)
    self.assertGreater(int(solution.fallbacks_N[0]), 0)

  def test_a_fold_sees_the_start_and_every_iterate(self):
    fold = solvers.Fold(
      lambda sums, z_D, step: (sums[0] + z_D[0], sums[1] + step),
      (jnp.zeros(2), jnp.zeros(2, jnp.int32)),
    )
    fn = lambda z_D: z_D / 2
    z_ND = jnp.asarray([[1.0], [0.25]])
    solution = solvers.solve(fn, z_ND, tolerance=0.1, fold=fold)
    np.testing.assert_array_equal(solution.steps_N, [3, 1])
    np.testing.assert_allclose(solution.folded[0], [1.875, 0.375])
    np.testing.assert_array_equal(solution.folded[1], [6, 1])

  def test_the_implicit_gradient_is_that_of_the_closed_form(self):
    # z = M z + c: dL/dM = w z', dL/dc = w, with (I - M') w = g.
    fn = lambda params, z_D: params["m"] @ z_D + params["c"]
    params = {"m": jnp.asarray(MATRIX), "c": jnp.ones(3)}
    g = np.array([1.0, 2.0, 3.0])
    loss = lambda p: g @ solvers.fixed_point(fn, p, jnp.zeros(3))
    grads = jax.grad(loss)(params)
    w = np.linalg.solve(np.eye(3) - MATRIX.T, g)
    np.testing.assert_allclose(grads["c"], w, rtol=1e-4)
    np.testing.assert_allclose(
      grads["m"], np.outer(w, FIXED), rtol=1e-3, atol=1e-4
    )

  def test_a_gradient_at_no_fixed_point_is_nan_not_wrong(self):
    fn = lambda a, z_D: a * z_D + 1
    loss = lambda a: solvers.fixed_point(fn, a, jnp.zeros(1), budget=5).sum()
    self.assertTrue(np.isnan(jax.grad(loss)(0.9)))

  def test_bad_arguments_are_named(self):
    z_ND = jnp.zeros((2, 3))
    for text, call in {
      r"float32\[3\] to float32\[2\]": lambda: solvers.solve(
        lambda z: z[:2], z_ND
      ),
      "budget=0": lambda: solvers.solve(affine, z_ND, budget=0),
      "tolerance=-1": lambda: solvers.solve(affine, z_ND, tolerance=-1),
      "hold no start": lambda: solvers.solve(affine, jnp.zeros((0, 3))),
      "no common leading axis": lambda: solvers.solve(
        affine, (z_ND, jnp.zeros((1, 3)))
      ),
      "int32": lambda: solvers.solve(affine, jnp.zeros((2, 3), int)),
      "damping=0": lambda: methods.picard(0),
      "memory=0": lambda: methods.anderson(0),
      "size=0": lambda: methods.newton_krylov(0),
    }.items():
      with self.assertRaisesRegex(ValueError, text):
        call()


if __name__ == "__main__":
  absltest.main()
