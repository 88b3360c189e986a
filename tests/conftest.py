"""Four CPU devices for every test, strict ranks, absl flags under pytest."""

import sys

from absl import flags
import chex
import jax


def pytest_configure():
  flags.FLAGS(sys.argv[:1])
  jax.config.update("jax_numpy_rank_promotion", "raise")
  chex.set_n_cpu_devices(4)
