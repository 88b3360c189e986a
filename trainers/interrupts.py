"""Signals that wait for the end of a step, so that the step can be saved."""

from collections.abc import Callable, Iterator
import contextlib
import signal
import sys
import threading

import jax
from jax.experimental import multihost_utils

Why = type[KeyboardInterrupt] | None


class Preempted(KeyboardInterrupt):
  """The machine is about to be taken away."""


_WHY = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: Preempted}


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[int], Why]]:
  """Yields a function that says why to save and stop, or None to go on.

  It is to be asked once for each step, with the number of steps done, by every
  process. KeyboardInterrupt stands for Ctrl-C, `Preempted` for SIGTERM or for
  JAX's notice of a preemption. A second signal is raised at once.

  In a run of many processes JAX handles SIGTERM and finds the step at which
  all of them stop; Ctrl-C is handed on to it as one. Outside the main thread
  Python delivers no signals, and none is awaited.
  """
  together = jax.distributed.is_initialized()
  got = []

  def on_signal(signum, frame):
    if got:
      raise _WHY[signum]
    got.append(signum)
    if together:
      signal.raise_signal(signal.SIGTERM)
    print(
      "\nstopping after this step; Ctrl-C again stops at once, unsaved",
      file=sys.stderr,
    )

  def why(step):
    if together:
      reached = multihost_utils.reached_preemption_sync_point(step)
      return Preempted if reached else None
    return _WHY[got[0]] if got else None

  if threading.current_thread() is not threading.main_thread():
    yield why
    return
  caught = [signal.SIGINT] if together else list(_WHY)
  previous = {x: signal.signal(x, on_signal) for x in caught}
  try:
    yield why
  finally:
    for signum, handler in previous.items():
      signal.signal(signum, handler)
