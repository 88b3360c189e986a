"""Times on a noisy machine: medians of interleaved rounds, and ratios."""

from collections.abc import Callable, Mapping
import statistics
import time

import jax


def medians(
  fns: Mapping[str, Callable[[], object]], rounds: int = 7
) -> dict[str, float]:
  """Median seconds of one call of each function, after one warm-up call.

  The functions take turns, so that a disturbance meets all of them and their
  ratios stay meaningful.

  Args:
    fns: name to a function of no arguments; JAX arrays it returns are waited
      for.
    rounds: calls of each function that count.

  Returns:
    Name to seconds.
  """
  for fn in fns.values():
    jax.block_until_ready(fn())
  seconds = {name: [] for name in fns}
  for _ in range(rounds):
    for name, fn in fns.items():
      start = time.perf_counter()
      jax.block_until_ready(fn())
      seconds[name].append(time.perf_counter() - start)
  return {name: statistics.median(s) for name, s in seconds.items()}
