"""What every command does first: quiet logs, and devices in their places."""

import contextlib
import os

from absl import app, flags, logging
import jax

from trainers import profiling, sharding

_CPU_DEVICES = flags.DEFINE_integer(
  "cpu_devices",
  2,
  "Devices that a CPU is seen as. A batch is split over them, which keeps more "
  "cores busy than one device does.",
  lower_bound=1,
)
_COMPILATION_CACHE = flags.DEFINE_string(
  "compilation_cache",
  None,
  "A folder, or gs://..., where compiled programs are kept for later runs, of "
  "this and of other processes.",
)
_PROFILE_STEPS = flags.DEFINE_string(
  "profile_steps",
  None,
  "Profile these steps of every training, as 10:20, into its folder: for "
  "TensorBoard with xprof.",
)
_MODEL_DEVICES = flags.DEFINE_integer(
  "model_devices",
  1,
  "Devices that every layer is split over. The batch is split over as many "
  "such sets of devices as there are.",
  lower_bound=1,
)
# Programs that compile faster are not worth a file.
_CACHED_SECONDS = 0.2


def profile_steps() -> range | None:
  """The steps of --profile_steps; None is no step.

  Raises:
    ValueError: they are not like 10:20.
  """
  text = _PROFILE_STEPS.value
  return None if text is None else profiling.parse(text)


def prepare() -> None:
  """Obeys --cpu_devices and --compilation_cache, and quiets the logs.

  Warnings alone are shown unless --verbosity is given. XLA_FLAGS and
  JAX_NUM_CPU_DEVICES go before --cpu_devices. To be called before JAX first
  looks for devices.
  """
  if not flags.FLAGS["verbosity"].present:
    logging.set_verbosity(logging.WARNING)  # orbax tells much at INFO
  if _COMPILATION_CACHE.value:
    jax.config.update("jax_compilation_cache_dir", _COMPILATION_CACHE.value)
    jax.config.update(
      "jax_persistent_cache_min_compile_time_secs", _CACHED_SECONDS
    )
  by_xla = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
  if not by_xla and jax.config.jax_num_cpu_devices < 1:
    jax.config.update("jax_num_cpu_devices", _CPU_DEVICES.value)


def model_devices() -> int:
  """How many devices every layer is split over."""
  return _MODEL_DEVICES.value


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
