"""Runs `eight` as the program of its own that it has to be."""

import os
import pathlib
import subprocess
import sys

from absl.testing import absltest
import chex

ROOT = pathlib.Path(__file__).parents[3]
FLAGS = (
  "--xla_force_host_platform_device_count=8 "
  "--xla_backend_optimization_level=0"  # compiled quickly, not to be fast
)


class EightTest(chex.TestCase):
  def test_eight_devices_do_what_one_does(self):
    done = subprocess.run(
      [sys.executable, "-m", "tests.trainers.devices.eight"],
      cwd=ROOT,
      env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": FLAGS},
      capture_output=True,
      text=True,
      timeout=1800,
    )
    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
    self.assertIn("Ran 3 tests", done.stderr)


if __name__ == "__main__":
  absltest.main()
