"""What every command does first: quiet logs, devices, other processes."""

import contextlib
import os
import sys

from absl import flags, logging
import jax

from launch import endings
from trainers import distributed, profiling, sharding

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
_DISTRIBUTED = flags.DEFINE_enum(
  "distributed",
  "auto",
  ["auto", "on", "off"],
  "Whether this is one of many processes of a run, all started by one command. "
  "auto: where the three flags below are given, or JAX finds a cluster (Cloud "
  "TPU, GKE, SLURM, Open MPI).",
)
_COORDINATOR = flags.DEFINE_string(
  "coordinator", None, "host:port of process 0, for all to reach."
)
_NUM_PROCESSES = flags.DEFINE_integer(
  "num_processes", None, "Of the run.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
  "process_id", None, "Of this process, from 0.", lower_bound=0
)
_DISTRIBUTED_SECONDS = flags.DEFINE_float(
  "distributed_seconds",
  distributed.SECONDS,
  "To wait for the last process to come, before it is named and all end.",
  lower_bound=1,
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


def prepare(*, alone: bool = False) -> None:
  """Obeys the flags of this module; to be called before JAX sees devices.

  Warnings alone are shown unless --verbosity is given. XLA_FLAGS and
  JAX_NUM_CPU_DEVICES go before --cpu_devices.

  Args:
    alone: whether other processes are left alone, whatever the flags say.

  Raises:
    app.UsageError: other processes are wanted, and not known.
    SystemExit: they are known, and did not all come; says who.
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
  if not alone:
    _join()


def _join() -> None:
  """Meets the other processes of this run, if there are any."""
  config = distributed.Config(
    mode=_DISTRIBUTED.value,
    coordinator=_COORDINATOR.value,
    num_processes=_NUM_PROCESSES.value,
    process_id=_PROCESS_ID.value,
    seconds=_DISTRIBUTED_SECONDS.value,
  )
  try:
    with endings.usage_errors():
      members = distributed.start(config)
  except (TimeoutError, OSError) as error:
    sys.exit(f"this run cannot start: {error}")
  if members and distributed.is_first():
    print(distributed.table(members), flush=True)


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
  with endings.usage_errors("--model_devices: "):
    return jax.set_mesh(sharding.make_mesh(_MODEL_DEVICES.value))
