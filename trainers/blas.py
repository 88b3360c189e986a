"""Threads of the library behind JAX's matrix decompositions on a CPU."""

from collections.abc import Iterator
import contextlib

# Loads the BLAS that JAX takes its LAPACK from, so that it is there to limit.
import scipy.linalg  # noqa: F401
import threadpoolctl


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
  """Gives each decomposition one thread.

  Decompositions of small matrices spend their time waiting for each other's
  threads: on two busy cores, a hundred times what one thread takes.
  """
  with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
    yield
