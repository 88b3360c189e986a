"""What every command does first: quiet logs, and devices in their places."""

import contextlib
import os

from absl import app, flags, logging
import jax

from trainers import sharding

_CPU_DEVICES = flags.DEFINE_integer(
  "cpu_devices",
  2,
  "Devices that a CPU is seen as. A batch is split over them, which keeps more "
  "cores busy than one device does.",
  lower_bound=1,
)
_MODEL_DEVICES = flags.DEFINE_integer(
  "model_devices",
  1,
  "Devices that every layer is split over. The batch is split over as many "
  "such sets of devices as there are.",
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


def mesh() -> contextlib.AbstractContextManager:
  """Around a run: the mesh that --model_devices asks for.

  Trainers find it there. Without the flag there is none around, and they make
  their own: within one, every device repeats whatever is not split.

  Raises:
    app.UsageError: the flag does not divide the number of devices.
  """
  if _MODEL_DEVICES.value == 1:
    return contextlib.nullcontext()
  try:
    return jax.set_mesh(sharding.make_mesh(_MODEL_DEVICES.value))
  except ValueError as error:
    raise app.UsageError(f"--model_devices: {error}") from error
