"""Tests for launch/experiments/softmax_rank.py."""

import dataclasses

from absl.testing import absltest, parameterized
import chex
import jax
import numpy as np

from launch.experiments import softmax_rank as experiment
from simplex.models import vision
from trainers import files


class SoftmaxRankTest(chex.TestCase):
  def test_a_scale_multiplies_the_kernels_and_nothing_else(self):
    config = experiment.tiny()
    one = experiment.problem(config).init(jax.random.key(0))
    two = experiment.problem(config, scale=2.0).init(jax.random.key(0))
    self.assertEqual(list(two), ["params"])
    chex.assert_trees_all_close(two, jax.tree.map(lambda x: 2 * x, one))

  def test_a_run_at_a_temperature_is_its_rescaled_run(self):
    found = experiment._equivalence(experiment.tiny())
    self.assertEqual(list(found), ["SGD", "Adam"])
    for difference in found.values():
      self.assertLess(difference, 1e-10)

  @parameterized.parameters(
    (dict(temperatures=(0.0,)), r"temperatures=\(0.0,\) must hold numbers"),
    (dict(scales=()), r"scales=\(\) must hold numbers above 0"),
    (dict(architectures=("vgg",)), r"architectures=\['vgg'\] are not among"),
    (dict(network=vision.Config(norm_head=True)), "norm_head=True.*norms"),
    (dict(network=vision.Config("vit")), "kind='vit'.* must be an 'mlp'"),
  )
  def test_settings_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      dataclasses.replace(experiment.Config(), **fields)

  def test_a_missing_folder_is_an_error_before_anything_is_trained(self):
    config = dataclasses.replace(experiment.Config(), data="no/such/folder")
    with self.assertRaisesRegex(
      files.InputError, "'no/such/folder' is not 'digits'"
    ):
      experiment.run(config, "")

  def test_the_clusters_are_shuffled_and_all_classes_are_trained(self):
    data = experiment._clusters(experiment.tiny())
    self.assertEqual(set(data.train_labels.tolist()), set(range(6)))
    self.assertFalse(np.all(np.diff(data.train_labels) >= 0))


if __name__ == "__main__":
  absltest.main()
