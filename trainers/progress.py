"""One line about a run in progress: a bar, its rates and the time left."""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import sys
import time

LINES_EVERY = 30.0  # seconds between lines where there is no terminal


@contextlib.contextmanager
def meter(
  label: str, num_steps: int, tokens: int, ideal_seconds: float = 0.0
) -> Iterator[Callable[[Mapping[str, float]], None]]:
  """Yields a function that shows the progress of each row of metrics.

  Rates are counted from the first row, so that compilation is left out.

  Args:
    label: whose progress it is.
    num_steps: updates in the whole run.
    tokens: tokens in a batch; 0 hides tokens per second.
    ideal_seconds: of a step at the peak of the devices; 0 hides utilisation.
  """
  first = []
  shown = [-LINES_EVERY]

  def on_row(row):
    now, step = time.monotonic(), int(row["step"])
    if not first:
      first.append((now, step))
    if "loss" not in row or (
      not sys.stderr.isatty() and now - shown[0] < LINES_EVERY
    ):
      return
    shown[0] = now
    since, since_step = first[0]
    rate = (step - since_step) / max(now - since, 1e-9)
    used = rate * ideal_seconds
    show(render(label, step, num_steps, rate, tokens, row["loss"], used))

  try:
    yield on_row
  finally:
    if sys.stderr.isatty():
      print(file=sys.stderr)


def render(
  label: str,
  step: int,
  num_steps: int,
  rate: float,
  tokens: int,
  loss: float,
  utilisation: float = 0.0,
) -> str:
  """Returns the line.

  Args:
    label: whose progress it is.
    step: updates done.
    num_steps: updates in the whole run.
    rate: updates per second; 0 while unknown.
    tokens: tokens in a batch; 0 hides tokens per second.
    loss: of the newest step that is known.
    utilisation: share of the devices' peak that the model's FLOPs take, MFU; 0
      while unknown.
  """
  filled = round(20 * step / max(num_steps, 1))
  parts = [
    f"{label} {'█' * filled}{'░' * (20 - filled)} {step}/{num_steps}",
    f"loss {loss:.4g}",
  ]
  if rate:
    parts.append(f"{rate:.3g} steps/s")
    if tokens:
      parts.append(f"{_short(rate * tokens)} tokens/s")
    if utilisation:
      parts.append(f"MFU {100 * utilisation:.0f} %")
    parts.append(f"{duration((num_steps - step) / rate)} left")
  return "  ".join(parts)


def duration(seconds: float) -> str:
  """Seconds as a person would write them: 42s, 3m07s, 2h15m."""
  seconds = round(seconds)
  if seconds < 60:
    return f"{seconds}s"
  if seconds < 3600:
    return f"{seconds // 60}m{seconds % 60:02d}s"
  return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"


def show(line: str) -> None:
  """Replaces the line on a terminal; elsewhere prints it below the others."""
  start, end = ("\r\x1b[K", "") if sys.stderr.isatty() else ("", "\n")
  print(f"{start}{line}", end=end, file=sys.stderr, flush=True)


def _short(number: float) -> str:
  for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
    if number >= limit:
      return f"{number / limit:.3g}{unit}"
  return f"{number:.3g}"
