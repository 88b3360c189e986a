"""Tests for simplex/analysis/ood.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import numpy as np

from simplex.analysis import ood

RNG = np.random.default_rng(0)


def near_a_plane(count, away):
  """Points near a plane of R^5, and as logits two of their coordinates."""
  x_NE = RNG.normal(size=(count, 5)) * [3, 2, 0.1, 0.1, 0.1]
  x_NE[:, 2:] += away
  return ood.Data(x_NE.astype(np.float32), x_NE[:, :2].astype(np.float32))


class QualityTest(chex.TestCase):
  def test_auroc_counts_pairs_and_half_of_ties(self):
    id_N, ood_M = RNG.integers(0, 5, 30), RNG.integers(0, 5, 20) - 1
    more = id_N[:, None] - ood_M
    pairs = np.mean((more > 0) + 0.5 * (more == 0))
    self.assertAlmostEqual(float(ood.auroc(id_N, ood_M)), pairs, places=6)

  def test_auroc_is_1_for_separated_and_one_half_for_equal_scores(self):
    self.assertEqual(ood.auroc(np.array([2.0, 3]), np.array([0.0, 1])), 1.0)
    self.assertEqual(ood.auroc(np.ones(3), np.ones(4)), 0.5)

  def test_the_two_conventions_of_fpr95_are_two_numbers(self):
    id_N = np.arange(100.0)  # 95 % of these are at least 5
    ood_M = np.concatenate([np.full(90, -1.0), np.full(10, 50.0)])
    self.assertAlmostEqual(float(ood.fpr95_id_positive(id_N, ood_M)), 0.1)
    # 95 % of OOD are rejected only by a threshold at 50: as are 0 ... 50.
    self.assertAlmostEqual(
      float(ood.fpr95_ood_positive(id_N, ood_M)), 0.51, places=6
    )

  @parameterized.parameters(1, 19, 20, 21, 100)
  def test_at_least_95_per_cent_are_accepted_and_no_more_than_needed(self, N):
    score_N = RNG.permutation(N).astype(np.float32)
    accepted = ood.fpr95_id_positive(score_N, score_N)
    self.assertGreaterEqual(accepted + 1e-6, 0.95)
    self.assertLess(accepted - 1 / N, 0.95)

  def test_nan_stays_nan_where_it_cannot_be_an_error(self):
    for quality in (ood.auroc, ood.fpr95_id_positive, ood.fpr95_ood_positive):
      share = jax.jit(quality)(np.array([1.0, np.nan]), np.ones(3))
      self.assertTrue(np.isnan(share))

  @parameterized.parameters(
    (np.zeros(0), np.zeros(2), "there are no ID scores"),
    (np.zeros(2), np.array([np.nan]), "OOD scores hold NaN"),
  )
  def test_scores_that_cannot_be_ranked_are_errors(self, a, b, message):
    with self.assertRaisesRegex(ValueError, message):
      ood.auroc(a, b)


class DetectorTest(chex.TestCase):
  @parameterized.named_parameters(
    ("knn", ood.knn(3)),
    ("mahalanobis", ood.mahalanobis()),
    ("vim", ood.vim(2)),
    ("vim_with_an_origin", ood.vim(2, np.full(5, 0.1))),
  )
  def test_points_off_the_plane_of_training_score_less(self, detector):
    @jax.jit
    def quality(train, inside, outside):
      state = detector.fit(train)
      scores = [detector.score(state, data) for data in (inside, outside)]
      return ood.auroc(*scores)

    data = [near_a_plane(n, away) for n, away in ((300, 0), (50, 0), (50, 2))]
    self.assertGreater(quality(*data), 0.98)

  def test_logits_decide_msp_and_energy(self):
    data = ood.Data(logits_NK=np.array([[2.0, 0, 0], [1, 1, 1]]))
    score_N = ood.msp().score(None, data)
    top = np.exp(2) / (np.exp(2) + 2)
    np.testing.assert_allclose(score_N, [top, 1 / 3], rtol=1e-6)
    score_N = ood.energy(2.0).score(None, data)
    warm = 2 * np.log([np.e + 2, 3 * np.exp(0.5)])
    np.testing.assert_allclose(score_N, warm, rtol=1e-6)

  def test_neco_is_the_share_of_the_norm_in_the_main_subspace(self):
    data = near_a_plane(200, 0)
    # Two copies of one feature are its main direction once standardised.
    x_NE = data.features_NE[:, [0, 0, 3]]
    detector = ood.neco(1)
    state = detector.fit(ood.Data(x_NE))
    mean, std = x_NE.mean(0), x_NE.std(0)
    ends = np.array([[1, 1, 0], [0, 0, 1], [1, -1, 0]]) * std + mean
    score_N = detector.score(state, ood.Data(ends))
    np.testing.assert_allclose(score_N, [1, 0, 0], atol=0.15)
    logits = 3 * np.ones((3, 2))
    times = ood.neco(1, max_logit=True).score(state, ood.Data(ends, logits))
    np.testing.assert_allclose(times, 3 * score_N, rtol=1e-5)

  def test_neco_survives_features_that_never_vary(self):
    x_NE = np.pad(near_a_plane(50, 0).features_NE, ((0, 0), (0, 2)))
    state = ood.neco(2).fit(ood.Data(x_NE))
    score_N = ood.neco(2).score(state, ood.Data(x_NE))
    self.assertTrue(np.isfinite(score_N).all())

  def test_mahalanobis_is_the_squared_distance_in_deviations(self):
    x_NE = RNG.normal(size=(400, 3)).astype(np.float32)
    x_NE = (x_NE - x_NE.mean(0)) @ np.linalg.inv(
      np.linalg.cholesky(np.cov(x_NE.T, bias=True)).T
    )
    detector = ood.mahalanobis()
    state = detector.fit(ood.Data(x_NE))
    score_N = detector.score(state, ood.Data(3 * np.eye(3)))
    np.testing.assert_allclose(score_N, -9 * np.ones(3), rtol=1e-3)

  def test_mahalanobis_survives_features_of_low_rank(self):
    left, right = RNG.normal(size=(50, 2)), RNG.normal(size=(2, 30))
    x_NE = (left * [1, 1e-3] @ right).astype(np.float32)
    for data in (ood.Data(x_NE), ood.Data(x_NE[:20])):
      detector = ood.mahalanobis()
      score_N = detector.score(detector.fit(data), ood.Data(x_NE))
      self.assertTrue(np.isfinite(score_N).all())
      off_N = detector.score(detector.fit(data), ood.Data(x_NE + 1))
      self.assertGreater(score_N.min(), off_N.max())

  def test_mahalanobis_measures_to_the_nearest_class_that_has_examples(self):
    x_NE = RNG.normal(size=(100, 2)).astype(np.float32)
    labels_N = np.repeat([0, 2], 50)
    x_NE[50:] += 20
    detector = ood.mahalanobis(num_classes=3)
    state = detector.fit(ood.Data(x_NE, labels_N=labels_N))
    centres = np.array([[0.0, 0], [20, 20], [10, 10]])
    score_N = detector.score(state, ood.Data(centres))
    np.testing.assert_array_less(score_N[2], score_N[:2] - 50)
    self.assertTrue(np.isfinite(score_N).all())

  def test_knn_is_the_mean_distance_to_the_nearest(self):
    bank = ood.Data(np.array([[0.0], [1.0], [4.0]]))
    at = ood.Data(np.array([[0.0], [5.0]]))
    for k, expected in (
      (1, [0, -1]),
      (2, [-0.5, -2.5]),
      (3, [-5 / 3, -10 / 3]),
    ):
      detector = ood.knn(k)
      score_N = detector.score(detector.fit(bank), at)
      np.testing.assert_allclose(score_N, expected, rtol=1e-6)

  def test_the_origin_of_vim_is_where_the_head_gives_no_logits(self):
    kernel_EK, bias_K = RNG.normal(size=(5, 3)), RNG.normal(size=3)
    origin_E = ood.vim_origin(kernel_EK, bias_K)
    logits_K = origin_E @ kernel_EK + bias_K
    np.testing.assert_allclose(logits_K, np.zeros(3), atol=1e-5)

  @parameterized.parameters(
    (lambda: ood.knn(0), "k=0 must be at least 1"),
    (lambda: ood.knn(9).fit(near_a_plane(5, 0)), "k=9 neighbours of 5"),
    (lambda: ood.vim(6).fit(near_a_plane(9, 0)), "dim=6 must be from 1 to 5"),
    (lambda: ood.neco(0).fit(near_a_plane(9, 0)), "dim=0 must be from 1 to 5"),
    (lambda: ood.msp(0.0), "temperature=0.0 must be above 0"),
    (lambda: ood.neco(1).fit(ood.Data(np.ones((0, 2)))), "is empty"),
  )
  def test_what_cannot_be_fitted_is_an_error(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      make()


if __name__ == "__main__":
  absltest.main()
