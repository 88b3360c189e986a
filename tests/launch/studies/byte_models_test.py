"""Tests for launch/studies/byte_models.py."""

from absl.testing import absltest
import chex
import jax

from launch.studies import byte_models
from simplex.data import sources


class ByteModelsTest(chex.TestCase):
  def test_models_have_equal_parameters_within_2_per_cent(self):
    source = sources.from_batches({"x": jax.numpy.zeros((1, 1))})
    counts = {}
    for name, model in byte_models.models(byte_models.Config()).items():
      init = byte_models.problem(model, source, None).init
      shapes = jax.eval_shape(init, jax.random.key(0))
      counts[name] = sum(x.size for x in jax.tree.leaves(shapes))
    self.assertEqual(counts["dot_product"], counts["local"])
    self.assertLess(abs(counts["local"] / counts["simplicial"] - 1), 0.02)

  def test_only_the_exchanged_layer_has_a_window(self):
    models = byte_models.models(byte_models.Config())
    self.assertEqual(models["dot_product"].windows, ())
    self.assertEqual(models["local"].windows, (32,))
    self.assertEqual(models["local"].mixer_every, 2)


if __name__ == "__main__":
  absltest.main()
