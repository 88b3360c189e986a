r"""Looks at this machine before a run does, and says how to mend what is wrong.

python -m launch.doctor
python -m launch.doctor --workdir=/mnt/runs --coordinator=10.0.0.2:8476

Ends with 1 where something fails. On a pod, run it on every host.
"""

from collections.abc import Iterator, Mapping, Sequence
import os
import pathlib
import re
import sys
import textwrap
import tomllib

from absl import app, flags

from launch import checkup
from trainers import machine

ROOT = pathlib.Path(__file__).parents[1]
RIVALS = ("tensorflow", "tensorflow-cpu")
ACCELERATED = (
  *checkup.PLUGINS,
  "jax-cuda12-pjrt",
  "jax-cuda13-pjrt",
  "libtpu",
)

_WORKDIR = flags.DEFINE_string("workdir", "runs", "Where runs will write.")
_COORDINATOR = flags.DEFINE_string(
  "coordinator",
  None,
  "HOST:PORT of process 0, to try to reach it; without it, the port that JAX "
  "would take is tried here.",
)
_SECONDS = flags.DEFINE_float(
  "seconds", 60.0, "How long JAX may take to find its devices.", lower_bound=1
)


def checks(
  workdir: str, coordinator: str | None, seconds: float
) -> Iterator[checkup.Check]:
  """Every check of this machine, as soon as it is made.

  Args:
    workdir: where runs will write.
    coordinator: `host:port` of process 0.
    seconds: that JAX may take to find devices.
  """
  required, extras = requirements((ROOT / "pyproject.toml").read_text())
  pinned = pins((ROOT / "constraints.txt").read_text(), sys.version_info[:2])
  names = {
    *required,
    *RIVALS,
    *ACCELERATED,
    "jaxlib",
    *sum(extras.values(), ()),
  }
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
  name = lambda text: re.match(r"[\w.-]+", text)[0]
  extras = {
    extra: tuple(map(name, texts))
    for extra, texts in told["optional-dependencies"].items()
  }
  return [*map(name, told["dependencies"])], extras


def pins(constraints: str, version: tuple[int, int]) -> Mapping[str, str]:
  """Name to version, of the lines that hold for a version of Python."""
  found = {}
  for line in constraints.splitlines():
    pattern = r'([\w.-]+)==([\w.]+)(?: ; python_version (<|>=) "3\.(\d+)")?$'
    match = re.match(pattern, line)
    if match is None:
      continue
    name, pin, sign, minor = match.groups()
    holds = {"<": version < (3, int(minor or 0)), None: True}
    if holds.get(sign, version >= (3, int(minor or 0))):
      found[name] = pin
  return found


def show(check: checkup.Check) -> str:
  """A check as lines for a terminal."""
  wrap = lambda text, first: textwrap.fill(
    text, 100, initial_indent=first, subsequent_indent=" " * 22
  )
  line = wrap(check.found, f"{check.status:<6}{check.name:<16}")
  return f"{line}\n{wrap(check.fix, ' ' * 17 + 'fix: ')}" if check.fix else line


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  address = _COORDINATOR.value
  if address and not re.fullmatch(r".+:\d{1,5}", address):
    raise app.UsageError(f"--coordinator={address} is not HOST:PORT")
  statuses = []
  for check in checks(_WORKDIR.value, address, _SECONDS.value):
    print(show(check), flush=True)
    statuses.append(check.status)
  failed, warned = statuses.count("fail"), statuses.count("warn")
  print(f"{failed} fail, {warned} to be looked at, {statuses.count('ok')} ok")
  sys.exit(failed > 0)


if __name__ == "__main__":
  app.run(main)
