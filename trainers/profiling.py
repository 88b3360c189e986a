"""A profile of some steps of a run, for XProf or TensorBoard."""

from collections.abc import Callable, Iterator
import contextlib
import contextvars
import pathlib
from typing import Any

import jax

from trainers import progress

_STEPS = contextvars.ContextVar("profiled steps", default=None)


def parse(text: str) -> range:
  """The steps from the first up to the second, as `10:20`.

  Raises:
    ValueError: it is not two numbers, the second above the first.
  """
  first, _, end = text.partition(":")
  if not (first.isdigit() and end.isdigit() and int(first) < int(end)):
    raise ValueError(
      f"--profile_steps={text} is not like 10:20, the steps from 10 to 19"
    )
  return range(int(first), int(end))


@contextlib.contextmanager
def requested(steps: range | None) -> Iterator[None]:
  """Within it every training loop profiles these steps; None is no step."""
  token = _STEPS.set(steps)
  try:
    yield
  finally:
    _STEPS.reset(token)


@contextlib.contextmanager
def profiled(
  step_fn: Callable[[Any], Any], workdir: str | pathlib.Path
) -> Iterator[Callable[[Any], Any]]:
  """Yields a step function that profiles the steps that were requested.

  Args:
    step_fn: takes a train state first.
    workdir: the profile goes to `workdir/profile`.
  """
  steps, folder = _STEPS.get(), pathlib.Path(workdir) / "profile"
  if steps is None:
    yield step_fn
    return
  now, begun = None, False
  with contextlib.ExitStack() as trace:

    def take(state):
      nonlocal now, begun
      # Later states are still being computed: to ask them would be to wait.
      now = int(state.step) if now is None else now + 1
      if now in steps and not begun:
        begun = True
        jax.block_until_ready(state)
        trace.enter_context(jax.profiler.trace(folder))
      if now not in steps:
        return step_fn(state)
      with jax.profiler.StepTraceAnnotation("train", step_num=now):
        out = step_fn(state)
      if now == steps[-1]:
        jax.block_until_ready(out)
        trace.close()
      return out

    yield take
  if jax.process_index() != 0:
    return
  look = f"tensorboard --logdir={folder.parent} (pip install xprof)"
  asked = f"from {steps[0]} to {steps[-1]}"
  progress.show(
    f"steps {asked} were profiled: {look}\n"
    if begun
    else f"no profile: this run took no step {asked}\n"
  )
