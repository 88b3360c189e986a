"""TPU kernels without a TPU.

`as_arrays` turns them into XLA and is fast; `as_tpu` follows every copy between
memories, fills memory with NaN before its first use, and finds races. Each
takes patches, such as of sizes of blocks.
"""

import contextlib
import functools
import re
from unittest import mock

import jax
from jax._src.pallas.mosaic.interpret import interpret_pallas_call
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
import numpy as np

from simplex.kernels import backend


@contextlib.contextmanager
def on_tpu(*patches):
  """Lets an op take this machine for a TPU."""
  with contextlib.ExitStack() as stack:
    for patch in patches:
      stack.enter_context(patch)
    yield stack.enter_context(
      mock.patch.object(backend, "platform", return_value="tpu")
    )


@contextlib.contextmanager
def as_arrays(*patches):
  call = functools.partial(pl.pallas_call, interpret=True)
  with on_tpu(*patches), mock.patch.object(pl, "pallas_call", call):
    yield


@contextlib.contextmanager
def as_tpu(*patches):
  params = pltpu.InterpretParams(detect_races=True, num_cores_or_threads=2)
  with on_tpu(*patches), pltpu.force_tpu_interpret_mode(params):
    yield


def compiled(fn):
  """Interpreted kernels are large programs: run once, they are not tuned."""
  return jax.jit(fn, compiler_options={"xla_backend_optimization_level": 0})


def races(fn, *args):
  """Whether interpreting the kernels of `fn` finds a race.

  From jax 0.12 on the interpreter raises at once; before, it remembers.
  """
  try:
    jax.block_until_ready(fn(*args))
  except RuntimeError as e:
    return "RACE DETECTED" in str(e)
  return interpret_pallas_call.races.races_found


def error(x, exact):
  """Relative L2; infinities must be in the same places."""
  x, exact = (np.asarray(y, np.float64) for y in (x, exact))
  finite = np.isfinite(exact)
  np.testing.assert_array_equal(x[~finite], exact[~finite])
  x, exact = x[finite], exact[finite]
  return np.linalg.norm(x - exact) / max(np.linalg.norm(exact), 1e-30)


def precisions(fn, *arrays) -> list[str]:
  """What the products of a function ask for on a TPU, in their order."""
  with on_tpu():
    jaxpr = str(jax.make_jaxpr(fn)(*arrays))
  return re.findall(r"precision=\(?(?:Precision\.)?(\w+)", jaxpr)
