"""Runs Triton kernels on numpy arrays, in the place of a GPU.

Triton's own interpreter executes the very kernels that are compiled for a GPU,
one program after another, when TRITON_INTERPRET=1 is set before triton is
imported. What it lacks is mended here: it takes torch tensors only, multiplies
the bits of bfloat16 as integers, multiplies float32 exactly where a GPU does
not, and, in triton 3.6, fails with numpy 2.4.
"""

import contextlib
import functools
import importlib.util
import os
from unittest import mock

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from simplex.kernels import backend, triton_call

GUARD = 4096
TYPES = {
  "bfloat16": "bf16",
  "float16": "fp16",
  "float32": "fp32",
  "int32": "i32",
}


class Tensor:
  """A numpy array between two guards, with what the interpreter asks for.

  The guards are not to be touched, and belong to no other array: `_bounded`.

  Attributes:
    extents: first and last address of each array of the running kernel.
  """

  extents = []

  def __init__(self, x: np.ndarray):
    self.buffer = np.zeros(x.size + 2 * GUARD, x.dtype)
    self.array = self.buffer[GUARD : GUARD + x.size].reshape(x.shape)
    self.array[...] = x
    self.dtype = TYPES[str(x.dtype)]

  def data_ptr(self):
    return self.array.ctypes.data

  def extent(self):
    return self.data_ptr(), self.data_ptr() + self.array.nbytes

  def untyped_storage(self):
    return self

  def cpu(self):
    return self

  def copy_(self, other):
    del other

  def new_empty(self, *args, **kwargs):
    del args, kwargs
    return self

  def set_(self, *args):
    del args

  def storage_offset(self):
    return 0

  def size(self):
    return self.array.shape

  def stride(self):
    return tuple(s // self.array.itemsize for s in self.array.strides)


@contextlib.contextmanager
def gpu(calls: list | None = None):
  """A GPU by interpretation: implementation="gpu_triton" runs inside of it.

  Args:
    calls: gets one entry for each kernel that ran.
  """
  _mend_triton()
  call = functools.partial(_call, [] if calls is None else calls)
  with (
    mock.patch.object(triton_call, "call", call),
    mock.patch.object(triton_call, "missing", lambda: None),
    mock.patch.object(backend, "platform", lambda: "gpu"),
  ):
    yield


def _call(
  calls,
  kernel,
  *arrays,
  out_shape,
  programs,
  num_warps,
  num_stages,
  **constants,
):
  """`triton_call.call` on the host."""
  del num_warps, num_stages

  def run(*arrays):
    inputs = [Tensor(np.asarray(x)) for x in arrays]
    # What a kernel does not write must not look right by chance.
    outputs = [Tensor(np.full(x.shape, _wrong(x), x.dtype)) for x in out_shape]
    Tensor.extents = [x.extent() for x in (*inputs, *outputs)]
    kernel[(programs,)](*inputs, *outputs, **constants)
    calls.append((kernel.fn.__name__, constants.get("c")))
    return tuple(x.array for x in outputs)

  return jax.pure_callback(
    run, tuple(out_shape), *arrays, vmap_method="sequential"
  )


def _wrong(x):
  """A number that no kernel writes."""
  is_float = jnp.issubdtype(x.dtype, jnp.floating)
  return np.nan if is_float else np.iinfo(x.dtype).min


@functools.cache
def _mend_triton():
  from triton.runtime import interpreter

  builder = interpreter.InterpreterBuilder
  builder.create_dot = _in_float32(interpreter, builder.create_dot)
  builder.binary_op = _rounding(interpreter, builder.binary_op)
  builder.create_masked_load = _bounded(builder.create_masked_load, 0)
  builder.create_masked_store = _bounded(builder.create_masked_store, 1)
  patch = interpreter._patch_lang_tensor

  def patch_lang_tensor(tensor, scope):
    patch(tensor, scope)
    index = lambda self: int(self.handle.data.squeeze())
    scope.set_attr(tensor, "__index__", index)

  interpreter._patch_lang_tensor = patch_lang_tensor
  # Every call of a helper would patch the language again: a third of the time.
  import triton.language as tl

  scope = mock.Mock()
  patch_lang = interpreter._patch_lang
  patched = functools.cache(
    lambda: patch_lang(mock.Mock(__globals__={"tl": tl, "core": tl.core}))
  )

  def patch_once(fn):
    del fn
    patched()
    return scope

  interpreter._patch_lang = patch_once


def _float32(interpreter, handle):
  """bfloat16, which the interpreter keeps as bits, as float32: exact."""
  import triton.language as tl

  if handle.dtype.scalar != tl.bfloat16:
    return handle
  values = handle.data.view(ml_dtypes.bfloat16).astype(np.float32)
  return interpreter.TensorHandle(values, tl.float32)


def _in_float32(interpreter, create_dot):
  from triton._C.libtriton import ir

  def mended(self, a, b, d, precision, *rest):
    a, b = _float32(interpreter, a), _float32(interpreter, b)
    if precision != ir.INPUT_PRECISION.TF32x3 or a.data.dtype != np.float32:
      return create_dot(self, a, b, d, precision, *rest)
    # As the compiler does it: three products of halves of 11 bits.
    handle = lambda x: interpreter.TensorHandle(x, a.dtype)
    (a_high, a_low), (b_high, b_low) = _halves(a.data), _halves(b.data)
    for x, y in ((a_low, b_high), (a_high, b_low), (a_high, b_high)):
      d = create_dot(self, handle(x), handle(y), d, precision, *rest)
    return d

  return mended


def _halves(x):
  """float32 as a sum of two numbers of tensorfloat32, as near as they come."""
  round_ = lambda y: ((y.view(np.uint32) + 0x1000) & 0xFFFFE000).view(y.dtype)
  x = np.ascontiguousarray(x)
  high = round_(x)
  return high, round_(x - high)


def _bounded(access, mask_at):
  """An access to memory that fails outside of the arrays of the kernel."""

  def mended(self, pointers, *rest):
    addresses = pointers.data[rest[mask_at].data]
    inside = [(addresses >= lo) & (addresses < hi) for lo, hi in Tensor.extents]
    if not np.any(inside, axis=0).all():
      raise IndexError("a kernel accessed what is not its own")
    return access(self, pointers, *rest)

  return mended


def _rounding(interpreter, binary_op):
  import triton.language as tl

  def mended(self, a, b, op):
    if a.dtype.scalar != tl.bfloat16:
      return binary_op(self, a, b, op)
    out = op(_float32(interpreter, a).data, _float32(interpreter, b).data)
    if out.dtype != np.float32:
      return interpreter.TensorHandle(out, a.dtype.scalar)
    bits = out.astype(ml_dtypes.bfloat16).view(np.uint16)
    return interpreter.TensorHandle(bits, tl.bfloat16)

  return mended


class InterpretedTest(chex.TestCase):
  """A test inside of `gpu()`; each kernel that runs is an entry of `calls`.

  Attributes:
    MODULE: the `gpu_triton` of the op.
  """

  MODULE = None

  def setUp(self):
    super().setUp()
    if importlib.util.find_spec("triton") is None:
      self.skipTest("triton is not installed: there is none for this platform")
    if os.environ.get("TRITON_INTERPRET") != "1":
      self.skipTest("it needs a process of its own: make interpreted")
    self.calls = []
    self.enterContext(gpu(self.calls))

  def use(self, size):
    """Takes one size for every kernel."""
    self.patch(BACKEND=self.MODULE.make(lambda case: size))

  def patch(self, **values):
    self.enterContext(mock.patch.multiple(self.MODULE, **values))


def values_and_grads(fn, *arrays, dtype=None):
  """Outputs, and gradients of fixed random projections of all of them.

  Args:
    fn: to outputs.
    *arrays: what it takes.
    dtype: that the projections are rounded to; None is that of the arrays.
  """
  normal = np.random.default_rng(9).standard_normal
  d_outs = [
    jnp.asarray(normal(x.shape), dtype or x.dtype).astype(x.dtype)
    for x in jax.eval_shape(fn, *arrays)
  ]

  # One program, compiled fast: a hundred small ones, or a good one, take longer
  # to compile than the kernels take to run.
  @functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
  )
  def run(arrays, d_outs):
    outs, vjp = jax.vjp(fn, *arrays)
    return outs, vjp(tuple(d_outs))

  return run(arrays, d_outs)


def relative_error(x, exact) -> float:
  """Relative L2 error; absolute where the exact value is zero."""
  x, exact = (np.asarray(jnp.asarray(y, jnp.float32)) for y in (x, exact))
  return np.linalg.norm(x - exact) / (np.linalg.norm(exact) or 1.0)
