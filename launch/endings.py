"""How a command ends when something is wrong: a message and an exit code."""

from collections.abc import Iterator
import contextlib
import pathlib
import sys

from absl import app

from trainers import files, interrupts

INTERRUPTED = 130  # Ctrl-C, as shells say it
PREEMPTED = 143  # SIGTERM or a notice of preemption


@contextlib.contextmanager
def usage_errors(where: str = "") -> Iterator[None]:
  """A wrong value of the user's is shown as a message, without a traceback."""
  try:
    yield
  except ValueError as error:
    raise app.UsageError(f"{where}{error}") from error


@contextlib.contextmanager
def of_run(workdir: pathlib.Path) -> Iterator[None]:
  """A run that stops early says where it stands, and what to do."""
  try:
    yield
  except files.InputError as error:
    raise app.UsageError(str(error)) from error
  except KeyboardInterrupt as stop:
    print(f"\n{stop or 'stopped'}. The same command continues.", flush=True)
    preempted = isinstance(stop, interrupts.Preempted)
    sys.exit(PREEMPTED if preempted else INTERRUPTED)
  except FloatingPointError as error:
    sys.exit(
      f"{error}\nAny checkpoints in {workdir} are from before that. Try a "
      "lower learning rate or a longer warm-up, in another --workdir."
    )
  except OSError as error:
    remedy = files.remedy(error)
    if remedy is None:
      raise
    sys.exit(
      f"{error}\nThat is: {remedy}. Then the same command continues from the "
      "newest checkpoint that is whole."
    )
