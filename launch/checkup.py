"""What a doctor concludes from what was found; pure functions, one a subject.

Each returns a `Check`, whose `fix` says what to do, as a command where it can.
"""

from collections.abc import Mapping, Sequence
import re
from typing import NamedTuple

from trainers.machine import Disk, Gpu, Jax

GIB = 2**30
INSTALL = "python -m pip install -e '.[{}]' -c constraints.txt"
PLUGINS = ("jax-cuda12-plugin", "jax-cuda13-plugin")
# The oldest driver that a CUDA of this number runs on, by NVIDIA's notes.
DRIVERS = {"12": 525, "13": 580}
# Ports of the process that others meet at: what JAX takes on Cloud TPU, which
# the firewall of a v6e does not let through (jax issue 35905), and a free one.
TPU_PORT, OPEN_PORT = 8482, 8476
# The pair that compiles on every supported jax.
TRITON = {"triton": "3.6.0", "jax-triton": "0.3.1"}

Versions = Mapping[str, str | None]


class Check(NamedTuple):
  """One line of the doctor.

  Attributes:
    name: of what was looked at.
    status: "ok", "warn" or "fail".
    found: what was found.
    fix: what to do; empty where nothing is to be done.
  """

  name: str
  status: str
  found: str
  fix: str = ""


def python(version: tuple[int, ...]) -> Check:
  found = ".".join(map(str, version))
  if version < (3, 11):
    return Check(
      "python",
      "fail",
      f"{found}; 3.11 is the oldest that works",
      "make PYTHON=python3.11, or any newer one",
    )
  return Check("python", "ok", found)


def packages(installed: Versions, pinned: Mapping[str, str]) -> Check:
  """Are the packages that every run needs here, as CI had them?

  Args:
    installed: the required packages and their versions.
    pinned: what constraints.txt says for this Python.
  """
  missing = [name for name, version in installed.items() if version is None]
  fix = "python -m pip install -e . -c constraints.txt"
  if missing:
    return Check("packages", "fail", f"missing: {', '.join(missing)}", fix)
  other = [
    f"{name} {version}, not {pinned[name]}"
    for name, version in installed.items()
    if pinned.get(name, version) != version
  ]
  if other:
    found = f"not as tested: {'; '.join(other)}"
    return Check("packages", "warn", found, fix)
  return Check("packages", "ok", f"{len(installed)}, as in constraints.txt")


def jax(installed: Versions) -> Check:
  """Do jax and jaxlib belong together?"""
  ours, library = installed.get("jax"), installed.get("jaxlib")
  found = f"jax {ours}, jaxlib {library}"
  if ours == library and ours:
    return Check("jax", "ok", found)
  fix = f"python -m pip install jax=={ours} jaxlib=={ours}"
  if not ours or not library:
    return Check("jax", "fail", found, INSTALL.format("dev"))
  if _numbers(library) > _numbers(ours):
    return Check("jax", "fail", f"{found}, which is too new for it", fix)
  return Check("jax", "warn", f"{found}, which is older", fix)


def _numbers(version: str) -> tuple[int, ...]:
  return tuple(map(int, re.findall(r"\d+", version)))


def plugin(
  installed: Versions, gpus: Sequence[Gpu], files: Sequence[str]
) -> Check:
  """Is there what lets jaxlib use the accelerator that is here, and only that?

  Args:
    installed: versions of jaxlib, libtpu, and the CUDA plugins with their
      `-pjrt` parts.
    gpus: as their driver sees them.
    files: of GPUs and TPUs.
  """
  library = installed.get("jaxlib")
  cuda = [name for name in PLUGINS if installed.get(name)]
  parts = [p for p in (*PLUGINS, *map(_pjrt, PLUGINS)) if installed.get(p)]
  named = ", ".join(f"{p} {installed[p]}" for p in parts)
  on_gpu = bool(gpus) or any("nvidia" in x for x in files)
  on_tpu = any("nvidia" not in x for x in files)
  if len(cuda) > 1:
    fix = f"python -m pip uninstall {cuda[0]} {_pjrt(cuda[0])}"
    return Check("plugin", "fail", f"two of them: {named}", fix)
  wrong = [p for p in parts if installed[p] != library]
  if wrong:
    fix = f"python -m pip install {' '.join(f'{p}=={library}' for p in wrong)}"
    found = f"{named}, for jaxlib {library}: they must be equal"
    return Check("plugin", "fail", found, fix)
  if on_gpu and not (cuda and installed.get(_pjrt(cuda[0]))):
    found = f"a GPU is here, and not all that uses it: {named or 'nothing'}"
    return Check("plugin", "fail", found, INSTALL.format("cuda"))
  if on_tpu and not on_gpu and not installed.get("libtpu"):
    found = "a TPU is here, and libtpu is not"
    return Check("plugin", "fail", found, INSTALL.format("tpu"))
  if installed.get("libtpu"):
    named = ", ".join(filter(None, [named, f"libtpu {installed['libtpu']}"]))
  return Check("plugin", "ok", named or "none, and no accelerator needs one")


def _pjrt(name: str) -> str:
  return name.replace("plugin", "pjrt")


def driver(
  gpus: Sequence[Gpu], files: Sequence[str], has_cuda: bool, installed: Versions
) -> Check:
  """Is the driver of a GPU there, and new enough for the plugin?

  Args:
    gpus: as their driver sees them.
    files: of GPUs and TPUs.
    has_cuda: whether libcuda.so.1 can be loaded.
    installed: versions of the CUDA plugins.
  """
  if not gpus and not any("nvidia" in x for x in files):
    return Check("driver", "ok", "no NVIDIA GPU, and none is needed")
  if not has_cuda:
    return Check(
      "driver",
      "fail",
      "a GPU is here, and libcuda.so.1 cannot be loaded",
      "install NVIDIA's driver; in a container: docker run --gpus all",
    )
  if not gpus:
    return Check(
      "driver",
      "warn",
      "nvidia-smi does not answer: the version is not known",
      "run nvidia-smi by hand, it says why",
    )
  found = f"{len(gpus)} x {gpus[0].name}, driver {gpus[0].driver}"
  number = next((p[8:10] for p in PLUGINS if installed.get(p)), None)
  least = DRIVERS.get(number, 0)
  if int(re.match(r"\d*", gpus[0].driver)[0] or 0) < least:
    return Check(
      "driver",
      "fail",
      f"{found}: CUDA {number} needs at least {least}",
      f"update the driver to {least} or newer",
    )
  return Check("driver", "ok", found)


def devices(found: Jax, gpus: Sequence[Gpu], files: Sequence[str]) -> Check:
  """Does JAX find the accelerator, and can it add?"""
  if found.error:
    fix = (
      "nothing else may hold the TPU or GPU (ps, nvidia-smi), and on a pod all "
      "hosts must start together; JAX_PLATFORMS=cpu does without them"
    )
    return Check("devices", "fail", found.error, fix)
  seen = f"{found.count} x {found.kind} ({found.backend})"
  if found.backend == "cpu" and (gpus or files):
    here = gpus[0].name if gpus else ", ".join(files)
    return Check(
      "devices",
      "fail",
      f"{seen}, although there is: {here}",
      "see plugin and driver above; unset JAX_PLATFORMS and "
      "CUDA_VISIBLE_DEVICES",
    )
  if gpus and found.count < len(gpus):
    return Check(
      "devices",
      "warn",
      f"{seen} of {len(gpus)}",
      "unset CUDA_VISIBLE_DEVICES to use all",
    )
  return Check("devices", "ok", seen)


def memory(total: int, free: int) -> Check:
  """Of the host."""
  found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
  if free < 2 * GIB:
    return Check(
      "memory", "warn", f"{found}: a run takes 1 to 2 GiB", "end other programs"
    )
  return Check("memory", "ok", found)


def device_memory(
  found: Jax, gpus: Sequence[Gpu], environment: Mapping[str, str]
) -> Check:
  """Is there room for what JAX takes of a GPU as it starts?"""
  name = "device memory"
  if not gpus:
    limit = f"{found.limit / GIB:.1f} GiB a device" if found.limit else "host's"
    return Check(name, "ok", limit)
  wanted = float(environment.get("XLA_PYTHON_CLIENT_MEM_FRACTION", 0.75))
  off = environment.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower()
  wanted = 0 if off in ("false", "0") else wanted
  least = min(gpus, key=lambda x: (x.total - x.used) / x.total)
  said = (
    f"{least.used} of {least.total} MiB in use, and JAX takes "
    f"{100 * wanted:.0f} % at the start"
  )
  if least.total - least.used < wanted * least.total:
    return Check(
      name,
      "fail",
      said,
      "end what uses it (nvidia-smi), or set XLA_PYTHON_CLIENT_PREALLOCATE="
      "false, or a lower XLA_PYTHON_CLIENT_MEM_FRACTION",
    )
  return Check(name, "ok", said)


def port(number: int, problem: str, on_tpu: bool) -> Check:
  """Can process 0 be met here?

  Args:
    number: of the port.
    problem: why it could not be opened; empty if it could.
    on_tpu: whether a TPU is here.
  """
  if problem:
    return Check(
      "port",
      "fail",
      f"{number} cannot be opened: {problem}",
      "end what holds it (ss -ltnp), or give another: --coordinator=HOST:PORT",
    )
  if on_tpu and number == TPU_PORT:
    return Check(
      "port",
      "warn",
      f"{number} is free; the firewall of a v6e blocks it (jax issue 35905)",
      f"--coordinator=ADDRESS_OF_HOST_0:{OPEN_PORT} on every host",
    )
  return Check("port", "ok", f"{number} is free")


def coordinator(address: str, problem: str) -> Check:
  """Does process 0 answer? `problem` says why it cannot be reached."""
  if problem:
    return Check(
      "coordinator",
      "fail",
      f"{address} is not reached: {problem}",
      "start process 0 first, give the address that other hosts see (hostname "
      "-I), and open the port in the firewall",
    )
  return Check("coordinator", "ok", f"{address} answers")


def disk(found: Disk) -> Check:
  """Can a run be written, and quickly?"""
  if found.error:
    return Check(
      "disk",
      "fail",
      f"{found.path} cannot be written: {found.error}",
      "give another --workdir, or free some space",
    )
  said = (
    f"{found.path}: {found.free / GIB:.1f} GiB free, "
    f"{found.speed / 2**20:.0f} MiB/s"
  )
  if found.free < GIB:
    fix = "free some space, or give a --workdir on another disk"
    return Check("disk", "fail", said, fix)
  if found.free < 10 * GIB or found.speed < 20 * 2**20:
    fix = "checkpoints of large models want more: a --workdir on another disk"
    return Check("disk", "warn", said, fix)
  return Check("disk", "ok", said)


def cpu(count: int, mine: float) -> Check:
  found = f"{mine:g} of {count} cores"
  if mine < count / 2:
    return Check(
      "cpu",
      "warn",
      f"{found} may be used by this process",
      "taskset -p, or the limit of the container, gives it more",
    )
  return Check("cpu", "ok", found)


def rivals(installed: Versions, gpus: Sequence[Gpu]) -> Check:
  """Is there a framework that takes all of a GPU's memory when it starts?"""
  here = [name for name, version in installed.items() if version]
  if here and gpus:
    return Check(
      "rivals",
      "warn",
      f"{', '.join(here)}: takes the whole GPU where it is imported too",
      "in that program: tf.config.set_visible_devices([], 'GPU')",
    )
  return Check("rivals", "ok", ", ".join(here) or "none")


def environment(variables: Mapping[str, str], gpus: Sequence[Gpu]) -> Check:
  """Do variables lead JAX astray?"""
  name, value = "LD_LIBRARY_PATH", variables.get("LD_LIBRARY_PATH", "")
  if gpus and re.search("cuda|cudnn", value, re.IGNORECASE):
    found = f"{name}={value}: other CUDA libraries come before those of pip"
    return Check("environment", "warn", found, f"unset {name}")
  if gpus and variables.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
    found = "CUDA_VISIBLE_DEVICES hides every GPU"
    return Check("environment", "fail", found, "unset CUDA_VISIBLE_DEVICES")
  prefixes = ("JAX_", "XLA_", "TPU_", "LIBTPU_", "CUDA_VISIBLE", "NCCL_")
  here = [f"{k}={v}" for k, v in variables.items() if k.startswith(prefixes)]
  return Check("environment", "ok", " ".join(sorted(here)) or "nothing is set")


def optional(installed: Versions, extras: Mapping[str, Sequence[str]]) -> Check:
  """Which of the extras are complete; is the pair of GPU compilers known?

  Args:
    installed: versions of the packages of all extras.
    extras: name to packages.
  """
  wrong = {
    f"{name}=={good}": installed.get(name)
    for name, good in TRITON.items()
    if installed.get(name) not in (None, good)
  }
  if wrong:
    found = f"instead of {', '.join(wrong)}: {', '.join(wrong.values())}"
    fix = f"python -m pip install {' '.join(wrong)}"
    return Check("extras", "warn", f"{found}; others fail to compile", fix)
  complete = lambda names: all(installed.get(name) for name in names)
  here = [extra for extra, names in extras.items() if complete(names)]
  absent = [extra for extra in extras if extra not in here]
  found = f"here: {', '.join(here) or 'none'}"
  if absent:
    found += f"; absent: {', '.join(absent)} ({INSTALL.format(absent[0])})"
  return Check("extras", "ok", found)
