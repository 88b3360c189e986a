"""Tests for launch/process.py."""

from absl import app
from absl.testing import absltest, flagsaver
import chex
import jax

from launch import process


class MeshTest(chex.TestCase):
  def test_no_mesh_is_around_unless_asked_for(self):
    with process.mesh():
      self.assertTrue(jax.sharding.get_mesh().empty)

  def test_a_mesh_of_that_many_devices_to_a_model_is_around(self):
    with flagsaver.flagsaver(model_devices=2), process.mesh():
      shape = jax.sharding.get_mesh().shape
      self.assertEqual(shape, {"data": 2, "model": 2})

  def test_a_number_that_does_not_divide_is_a_usage_error(self):
    message = r"--model_devices: 3 does not divide the 4 devices; .*\[1, 2, 4\]"
    with flagsaver.flagsaver(model_devices=3):
      with self.assertRaisesRegex(app.UsageError, message):
        process.mesh()


if __name__ == "__main__":
  absltest.main()
