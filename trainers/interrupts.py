"""Ctrl-C that waits for the end of a step, so that the step can be saved."""

from collections.abc import Callable, Iterator
import contextlib
import signal
import sys
import threading


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
  """Yields a function that says whether Ctrl-C was pressed.

  The first Ctrl-C is remembered, the second raises KeyboardInterrupt at once.
  Outside the main thread Python delivers no signals, and none is awaited.
  """
  pressed = threading.Event()

  def on_signal(signum, frame):
    if pressed.is_set():
      raise KeyboardInterrupt
    pressed.set()
    print(
      "\nstopping after this step; Ctrl-C again stops at once, unsaved",
      file=sys.stderr,
    )

  if threading.current_thread() is not threading.main_thread():
    yield pressed.is_set
    return
  previous = signal.signal(signal.SIGINT, on_signal)
  try:
    yield pressed.is_set
  finally:
    signal.signal(signal.SIGINT, previous)
