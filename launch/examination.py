"""Every check of this machine, from what is found on it."""

from collections.abc import Iterator, Mapping, Sequence
import os
import pathlib
import re
import sys
import textwrap
import tomllib

from launch import checkup
from trainers import machine

ROOT = pathlib.Path(__file__).parents[1]
RIVALS = ("tensorflow", "tensorflow-cpu")
# What an extra of jax's own installs that matters here.
ACCELERATED = {
  "jax[cuda12]": ("jax-cuda12-plugin", "jax-cuda12-pjrt"),
  "jax[cuda13]": ("jax-cuda13-plugin", "jax-cuda13-pjrt"),
  "jax[tpu]": ("libtpu",),
}


def checks(
  workdir: str, coordinator: str | None, seconds: float
) -> Iterator[checkup.Check]:
  """Every check of this machine, as soon as it is made.

  Args:
    workdir: where runs will write.
    coordinator: `host:port` of process 0, to try to reach it.
    seconds: that JAX may take to find devices.
  """
  required, extras = requirements((ROOT / "pyproject.toml").read_text())
  pinned = pins((ROOT / "constraints.txt").read_text(), sys.version_info[:2])
  parts = [*extras.values(), *ACCELERATED.values()]
  names = {*required, *RIVALS, "jaxlib", *sum(parts, ())}
  found = machine.versions(sorted(names))
  some = lambda names: {name: found[name] for name in names}
  gpus, files = machine.gpus(), machine.device_files()
  has_cuda = machine.has_library("libcuda.so.1")
  yield checkup.python(sys.version_info[:3])
  yield checkup.packages(some([*required, "jaxlib"]), pinned)
  yield checkup.jax(found)
  yield checkup.plugin(found, gpus, files)
  yield checkup.driver(gpus, files, has_cuda, found)
  yield checkup.environment(os.environ, gpus)
  answer = machine.ask_jax(seconds)
  yield checkup.devices(answer, gpus, files)
  yield checkup.device_memory(answer, gpus, os.environ)
  yield checkup.memory(*machine.memory())
  yield checkup.cpu(*machine.cores())
  yield checkup.disk(machine.disk(workdir))
  yield _meeting_point(coordinator, on_tpu=answer.backend == "tpu")
  yield checkup.rivals(some(RIVALS), gpus)
  yield checkup.optional(found, extras)


def _meeting_point(address: str | None, on_tpu: bool) -> checkup.Check:
  if address is None:
    number = checkup.TPU_PORT if on_tpu else checkup.OPEN_PORT
    return checkup.port(number, machine.bind(number), on_tpu)
  host, _, number = address.rpartition(":")
  return checkup.coordinator(address, machine.connect(host, int(number)))


def requirements(
  project: str,
) -> tuple[Sequence[str], Mapping[str, tuple[str, ...]]]:
  """The packages that a pyproject.toml asks for, and those of its extras."""
  told = tomllib.loads(project)["project"]

  def names(text):
    name = re.match(r"[\w.-]+(\[\w+\])?", text)[0]
    return ACCELERATED.get(name, (name.partition("[")[0],))

  extras = {
    extra: sum(map(names, texts), ())
    for extra, texts in told["optional-dependencies"].items()
  }
  return [*sum(map(names, told["dependencies"]), ())], extras


def pins(constraints: str, version: tuple[int, int]) -> Mapping[str, str]:
  """Name to version, of the lines that hold for a version of Python."""
  found = {}
  for line in constraints.splitlines():
    pattern = r'([\w.-]+)==([\w.]+)(?: ; python_version (<|>=) "3\.(\d+)")?$'
    match = re.match(pattern, line)
    if match is None:
      continue
    name, pin, sign, minor = match.groups()
    older = version < (3, int(minor or 0))
    if sign is None or older == (sign == "<"):
      found[name] = pin
  return found


def show(check: checkup.Check) -> str:
  """A check as lines for a terminal."""
  wrap = lambda text, first: textwrap.fill(
    text, 100, initial_indent=first, subsequent_indent=" " * 22
  )
  line = wrap(check.found, f"{check.status:<6}{check.name:<16}")
  return f"{line}\n{wrap(check.fix, ' ' * 17 + 'fix: ')}" if check.fix else line
