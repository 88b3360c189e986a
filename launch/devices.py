"""How many devices a CPU is seen as: a flag that the commands share."""

import os

from absl import flags
import jax

_CPU_DEVICES = flags.DEFINE_integer(
  "cpu_devices",
  2,
  "Devices that a CPU is seen as. A batch is split over them, which keeps more "
  "cores busy than one device does.",
  lower_bound=1,
)


def split_cpu() -> None:
  """Obeys --cpu_devices, unless XLA_FLAGS or JAX_NUM_CPU_DEVICES decide.

  To be called before JAX first looks for devices.
  """
  by_xla = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if not by_xla and jax.config.jax_num_cpu_devices < 1:
    jax.config.update("jax_num_cpu_devices", _CPU_DEVICES.value)
