"""What is found on a machine before JAX is started: nothing here imports it."""

from collections.abc import Mapping, Sequence
import ctypes
import errno
from importlib import metadata
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

# Run by a process of its own, which can be ended if it waits for ever, and
# which leaves the memory of a GPU to others.
_ASK_JAX = """
import json, jax
devices = jax.local_devices()
stats = [x.memory_stats() or {} for x in devices]
print(json.dumps({
  "backend": jax.default_backend(),
  "count": len(devices),
  "kind": devices[0].device_kind,
  "limit": min(x.get("bytes_limit", 0) for x in stats),
  "sum": float(jax.numpy.arange(5).sum()),
}))
"""

# On the PCI bus, from v3 to TPU7x, as jax._src.hardware_utils has them.
GOOGLE = "0x1ae0"
TPUS = ("0x0027", "0x0056", "0x005e", "0x0062", "0x0063", "0x006f", "0x0076")


class Jax(NamedTuple):
  """What JAX finds; `error` is empty where it finds devices."""

  backend: str = ""
  count: int = 0
  kind: str = ""
  limit: int = 0  # bytes of a device's memory that JAX may take; 0: not known
  error: str = ""


class Gpu(NamedTuple):
  """A GPU as its driver sees it; memory is in MiB."""

  name: str
  driver: str
  total: int
  used: int


class Disk(NamedTuple):
  """A folder to write to; `error` is empty where it can be written."""

  path: str
  free: int = 0  # bytes
  speed: float = 0.0  # bytes a second, down to the disk
  error: str = ""


def versions(names: Sequence[str]) -> Mapping[str, str | None]:
  """The installed version of each package; None where there is none."""
  found = dict.fromkeys(names)
  for name in names:
    try:
      found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
      continue
  return found


def ask_jax(seconds: float) -> Jax:
  """The devices that a JAX in another process finds in a given time."""
  environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
  try:
    done = subprocess.run(
      [sys.executable, "-c", _ASK_JAX],
      env=environment,
      capture_output=True,
      text=True,
      timeout=seconds,
    )
  except subprocess.TimeoutExpired:
    return Jax(error=f"no answer in {seconds:.0f} s")
  lines = done.stdout.splitlines()
  if done.returncode or not lines:
    last = [x for x in done.stderr.splitlines() if x.strip()][-1:]
    return Jax(error="".join(last) or f"it ended with {done.returncode}")
  answer = json.loads(lines[-1])
  wrong = answer.pop("sum") != 10
  return Jax(**answer, error="0 + 1 + 2 + 3 + 4 is not 10" if wrong else "")


def gpus(seconds: float = 5.0) -> Sequence[Gpu]:
  """What nvidia-smi says; nothing where it is missing or does not answer."""
  command = [
    "nvidia-smi",
    "--query-gpu=name,driver_version,memory.total,memory.used",
    "--format=csv,noheader,nounits",
  ]
  try:
    done = subprocess.run(
      command, capture_output=True, text=True, timeout=seconds
    )
  except (OSError, subprocess.TimeoutExpired):
    return ()
  rows = [re.split(r",\s*", line) for line in done.stdout.splitlines()]
  return [
    Gpu(name, driver, int(total), int(used))
    for name, driver, total, used in (row for row in rows if len(row) == 4)
    if total.isdigit() and used.isdigit()
  ]


def has_library(name: str) -> bool:
  """Whether the loader finds a shared library, such as `libcuda.so.1`."""
  try:
    ctypes.CDLL(name)
  except OSError:
    return False
  return True


def device_files(root: str = "/") -> Sequence[str]:
  """The files of the NVIDIA GPUs and of the TPUs of this machine."""
  gpus = pathlib.Path(root, "dev").glob("nvidia[0-9]*")
  cards = pathlib.Path(root, "sys/bus/pci/devices").glob("*")
  tpus = (card for card in cards if _is_tpu(card))
  return sorted(map(str, [*gpus, *tpus]))


def _is_tpu(card: pathlib.Path) -> bool:
  """Google's network cards and disks are of the same vendor."""
  vendor, device = card / "vendor", card / "device"
  if not (vendor.is_file() and device.is_file()):
    return False
  return (
    vendor.read_text().strip() == GOOGLE and device.read_text().strip() in TPUS
  )


def memory() -> tuple[int, int]:
  """Bytes of memory that this process may have, and that are free now.

  The limit of a container counts where it is lower.
  """
  lines = pathlib.Path("/proc/meminfo")
  if not lines.exists():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), 0
  rows = re.findall(r"(\w+):\s+(\d+) kB", lines.read_text())
  kilobytes = {name: int(value) for name, value in rows}
  total, free = (
    1024 * kilobytes.get(x, 0) for x in ("MemTotal", "MemAvailable")
  )
  limit = _limit("memory.max")
  return (min(total, limit), min(free, limit)) if limit else (total, free)


def cores() -> tuple[int, float]:
  """Cores of the machine, and how many of them this process may keep busy."""
  mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
  count = os.cpu_count() or 1
  quota, period = (_limit("cpu.max", i) for i in (0, 1))
  share = quota / period if quota and period else count
  return count, min(mine or count, share)


def _limit(name: str, word: int = 0) -> int:
  """A number of this container's control group; 0 where there is none."""
  path = pathlib.Path("/sys/fs/cgroup") / name
  words = path.read_text().split() if path.is_file() else []
  return int(words[word]) if len(words) > word and words[word].isdigit() else 0


def disk(folder: str, megabytes: int = 32) -> Disk:
  """Writes and removes a file where a run would; makes no folder that stays."""
  path = pathlib.Path(folder).expanduser().absolute()
  while not path.exists():
    path = path.parent
  if not path.is_dir():
    return Disk(str(path), error=os.strerror(errno.ENOTDIR))
  block = os.urandom(2**20)
  try:
    start = time.monotonic()
    with tempfile.NamedTemporaryFile(dir=path) as file:
      for _ in range(megabytes):
        file.write(block)
      file.flush()
      os.fsync(file.fileno())
    speed = megabytes * len(block) / max(time.monotonic() - start, 1e-6)
  except OSError as error:
    free = shutil.disk_usage(path).free
    return Disk(str(path), free, error=error.strerror or str(error))
  return Disk(str(path), shutil.disk_usage(path).free, speed)


def bind(port: int) -> str:
  """Tries to open a port for others; returns why it cannot, or nothing."""
  with socket.socket() as listener:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      listener.bind(("", port))
    except OSError as error:
      return error.strerror or str(error)
  return ""


def connect(host: str, port: int, seconds: float = 3.0) -> str:
  """Tries to reach a port; returns why it cannot, or nothing."""
  try:
    socket.create_connection((host, port), seconds).close()
  except OSError as error:
    return error.strerror or str(error)
  return ""
