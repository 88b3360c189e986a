"""The launcher as a user runs it: a process of its own, and what it says."""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
# Half the time to compile, for programs that then run six times as long.
QUICK = "--xla_backend_optimization_level=0"


def environment(xla_flags: str = "") -> dict[str, str]:
  """One CPU device, and one cache of compiled programs for all runs."""
  cache = pathlib.Path(tempfile.gettempdir()) / f"simplex-tests-{os.getuid()}"
  return os.environ | {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": xla_flags,
    "JAX_COMPILATION_CACHE_DIR": str(cache),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
  }


def line(*arguments: str, module: str = "launch.run") -> list[str]:
  return [sys.executable, "-m", module, *arguments]


def launch(
  *arguments: str, module: str = "launch.run", xla_flags: str = ""
) -> subprocess.CompletedProcess:
  """Runs the launcher, or another command, to its end."""
  return subprocess.run(
    line(*arguments, module=module),
    cwd=ROOT,
    env=environment(xla_flags),
    capture_output=True,
    text=True,
    timeout=600,
  )
