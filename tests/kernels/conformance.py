"""What every implementation of every op must satisfy.

`op` is a function of arrays only, with its settings and its implementation
bound; `reference` is the same with the reference implementation. Arrays begin
with the batch axis.
"""

import chex
import jax
import jax.numpy as jnp

from launch import conformance


def assert_matches(op, reference, *arrays, tol=1e-4):
  """Compares the value and all gradients of an op with the reference's."""
  both = jax.jit(lambda *xs: [value_and_grads(f, *xs) for f in (op, reference)])
  chex.assert_trees_all_close(*both(*arrays), atol=tol, rtol=tol)


def assert_transformable(op, *arrays, tol=1e-5):
  """Compares `jit`, `vmap` and `remat` of value and gradients with plain."""
  plain = value_and_grads(op, *arrays)
  close = lambda x: chex.assert_trees_all_close(x, plain, atol=tol, rtol=tol)
  close(jax.jit(lambda *xs: value_and_grads(op, *xs))(*arrays))
  close(jax.jit(lambda *xs: value_and_grads(jax.checkpoint(op), *xs))(*arrays))
  twice = [jnp.stack([x, x]) for x in arrays]
  both = jax.jit(jax.vmap(lambda *xs: value_and_grads(op, *xs)))(*twice)
  close(jax.tree.map(lambda x: x[1], both))
  others = arrays[1:]
  some = jax.jit(jax.vmap(lambda x: op(x, *others)))(twice[0])
  close((jax.tree.map(lambda x: x[1], some), plain[1]))


def assert_keeps_shards(op, *arrays, mesh=None, tol=1e-5):
  """Checks that a batch sharded over "data" stays where it is.

  The batch axis must be a multiple of the mesh's "data" axis.
  """
  mesh = mesh or make_mesh((4,), ("data",))
  plain = jax.jit(lambda *xs: value_and_grads(op, *xs))(*arrays)
  with jax.set_mesh(mesh):
    rows = jax.NamedSharding(mesh, jax.P("data"))
    fn = jax.jit(
      lambda *xs: value_and_grads(op, *xs),
      in_shardings=rows,
      out_shardings=rows,
    )
    sharded = jax.device_put(arrays, rows)
    program = fn.lower(*sharded).compile().as_text()
    chex.assert_trees_all_close(fn(*sharded), plain, atol=tol, rtol=tol)
  for collective in ("all-gather", "all-to-all", "all-reduce"):
    if collective in program:
      raise AssertionError(f"the program of a sharded batch has {collective}")


def errors_to_float64(op, reference, *arrays):
  """Largest relative L2 error of the values and of the gradients of an op.

  `reference` is a backend's forward function, which then runs in float64.
  """
  exact = conformance.in_float64(lambda *xs: reference(*xs)[0], *arrays)
  return conformance.relative_errors(value_and_grads(op, *arrays), exact)


def value_and_grads(op, *arrays):
  """The value, and the gradients of a fixed random projection of it."""
  is_float = [jnp.issubdtype(x.dtype, jnp.floating) for x in arrays]

  def of_floats(*floats):
    rest = iter(floats)
    pairs = zip(arrays, is_float, strict=True)
    return op(*(next(rest) if f else x for x, f in pairs))

  floats = [x for x, f in zip(arrays, is_float, strict=True) if f]
  return conformance.value_and_grads(of_floats, *floats)


def make_mesh(sizes, names):
  """A mesh of the first CPU devices, with automatic axes."""
  types = (jax.sharding.AxisType.Auto,) * len(names)
  return jax.make_mesh(sizes, names, axis_types=types)
