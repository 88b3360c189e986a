"""What every command does first: quiet logs, and a CPU seen as devices."""

import os

from absl import flags, logging
import jax

_CPU_DEVICES = flags.DEFINE_integer(
  "cpu_devices",
  2,
  "Devices that a CPU is seen as. A batch is split over them, which keeps more "
  "cores busy than one device does.",
  lower_bound=1,
)


def prepare() -> None:
  """Obeys --cpu_devices, and shows warnings alone unless --verbosity is given.

  XLA_FLAGS and JAX_NUM_CPU_DEVICES go before the flag. To be called before JAX
  first looks for devices.
  """
  if not flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)  # orbax tells much at INFO
  by_xla = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if not by_xla and jax.config.jax_num_cpu_devices < 1:
    jax.config.update("jax_num_cpu_devices", _CPU_DEVICES.value)
