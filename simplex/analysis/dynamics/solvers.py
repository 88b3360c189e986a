"""Fixed points of any map, for many starts at once, each with its own record.

One compiled program; a sample that is done is frozen, and when few are left
they are gathered into a smaller batch, so that stragglers do not cost what all
of them do.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
from jax.flatten_util import ravel_pytree
import jax.numpy as jnp
import numpy as np

from simplex.analysis.dynamics import krylov, methods
from simplex.types import Array, Params

RUNNING, CONVERGED, BUDGET, NOT_FINITE = -1, 0, 1, 2
REASONS = {BUDGET: "budget spent", NOT_FINITE: "not finite"}
_SHRINK = 8  # a smaller batch is made when this share of one still runs
_SMALLEST = 32


class Solution(NamedTuple):
  """What became of each start.

  Attributes:
    points: the last finite iterates, a tree with a leading axis of N.
    residual_N: |f(z) - z| there.
    steps_N: steps that were taken.
    status_N: `CONVERGED`, `BUDGET` or `NOT_FINITE`.
    fallbacks_N: steps in which the method fell back, such as a singular system
      of Anderson's; see `methods.Method`.
    folded: the carries of the fold.
  """

  points: Any
  residual_N: Array
  steps_N: Array
  status_N: Array
  fallbacks_N: Array
  folded: Any = None


class Fold(NamedTuple):
  """What is made of a trajectory while it runs; it is never stored.

  Attributes:
    fn: `(carry, z, step) -> carry`, for one sample; it sees the start as step
      0 and every iterate after it. What all samples share is an argument of a
      `jax.tree_util.Partial`.
    carry: a tree with a leading axis of N, where each sample begins.
  """

  fn: Callable[[Any, Any, Array], Any]
  carry: Any


class _State(NamedTuple):
  """A sample: point, field, the method's memory and its record."""

  z: Array
  v: Array
  memory: Any
  steps: Array
  status: Array
  fallbacks: Array
  carry: Any


def solve(
  fn: Callable[[Any], Any],
  starts: Any,
  *,
  method: methods.Method | None = None,
  tolerance: float = 1e-5,
  relative: float = 0.0,
  budget: int = 1000,
  fold: Fold | None = None,
) -> Solution:
  """Looks for z = f(z) from every start.

  A sample ends when |f(z) - z| <= tolerance + relative * |z|, when its budget
  is spent, or when an iterate is not finite; the others go on. For Picard's
  method |f(z) - z| is the last step.

  Args:
    fn: one point to another of the same tree, shapes and dtypes. The arrays of
      a `jax.tree_util.Partial` are arguments of the compiled program: another
      model of the same shapes is not compiled again.
    starts: a tree of floating arrays with a leading axis of N.
    method: how to step; None is `methods.picard()`.
    tolerance: of the residual, at least 0.
    relative: the same, as a share of the length of the point.
    budget: most steps of a sample, at least 1.
    fold: what to make of the trajectories.

  Raises:
    ValueError: no starts, unequal leading axes, a budget below 1, a negative
      tolerance, or a map that changes the tree, a shape or a dtype.
  """
  check_starts(starts)
  if budget < 1:
    raise ValueError(f"budget={budget} must be at least 1")
  if not (tolerance >= 0 and relative >= 0):
    raise ValueError(f"{tolerance=} and {relative=} must be at least 0")
  check_map(fn, jax.tree.map(lambda x: x[0], starts))
  fold = fold or Fold(_nothing, ())
  limits = jnp.asarray([tolerance, relative])
  return _solve(
    as_argument(fn),
    starts,
    as_argument(fold.fn),
    fold.carry,
    limits,
    method=method or methods.picard(),
    budget=budget,
  )


def as_argument(fn: Callable[..., Any]) -> jax.tree_util.Partial:
  """A function that can be handed to a compiled program."""
  if isinstance(fn, jax.tree_util.Partial):
    return fn
  return jax.tree_util.Partial(fn)


def flat(fn: Callable[[Any], Any], points: Any):
  """The map on vectors: `(fn, points_ND, unravel)` for trees of points."""
  _, unravel = ravel_pytree(jax.tree.map(lambda x: x[0], points))
  points_ND = jax.vmap(lambda z: ravel_pytree(z)[0])(points)
  return lambda z_D: ravel_pytree(fn(unravel(z_D)))[0], points_ND, unravel


def check_map(fn: Callable[[Any], Any], point: Any) -> None:
  """Raises a ValueError when `fn` does not map a point to one like it."""
  want, got = jax.eval_shape(lambda z: (z, fn(z)), point)
  describe = lambda t: jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", t)
  if describe(want) != describe(got):
    raise ValueError(
      f"the map takes {describe(want)} to {describe(got)}; a fixed point needs "
      "the same tree, shapes and dtypes"
    )


def failures(solution: Solution) -> Sequence[str]:
  """A line for each start that did not converge: which, why and when."""
  status_N, steps_N, residual_N, fallbacks_N = map(
    np.asarray,
    (
      solution.status_N,
      solution.steps_N,
      solution.residual_N,
      solution.fallbacks_N,
    ),
  )
  return [
    f"sample {i}: {REASONS[int(status_N[i])]} after {steps_N[i]} steps, "
    f"residual {residual_N[i]:.3g}, {fallbacks_N[i]} steps fell back"
    for i in np.flatnonzero(status_N != CONVERGED)
  ]


@functools.partial(jax.jit, static_argnames=("method", "budget"))
def _solve(fn, starts, fold_fn, carry, limits, *, method, budget) -> Solution:
  vector_fn, z_ND, unravel = flat(fn, starts)
  limits = limits.astype(jnp.finfo(z_ND.dtype).dtype)
  see = lambda carry, z_D, step: fold_fn(carry, unravel(z_D), step)

  def status(z_D, v_D, steps):
    finite = jnp.isfinite(z_D).all() & jnp.isfinite(v_D).all()
    enough = limits[0] + limits[1] * jnp.linalg.norm(z_D)
    known = jnp.where(steps < budget, RUNNING, BUDGET)
    known = jnp.where(jnp.linalg.norm(v_D) <= enough, CONVERGED, known)
    return jnp.where(finite, known, NOT_FINITE)

  def begin(z_D, carry):
    v_D, zero = vector_fn(z_D) - z_D, jnp.int32(0)
    carry = see(carry, z_D, zero)
    now = status(z_D, v_D, zero)
    return _State(z_D, v_D, method.init(z_D), zero, now, zero, carry)

  def advance(state):
    z_D, memory, back = method.next(vector_fn, state.z, state.v, state.memory)
    v_D, steps = vector_fn(z_D) - z_D, state.steps + 1
    now = status(z_D, v_D, steps)
    carry = see(state.carry, z_D, steps)
    backs = state.fallbacks + back
    moved = _State(z_D, v_D, memory, steps, now, backs, carry)
    lost = state._replace(steps=steps, status=now)  # keeps what was finite
    moved = _select(now == NOT_FINITE, lost, moved)
    return _select(state.status == RUNNING, moved, state)

  state = jax.vmap(begin)(z_ND, carry)
  state = _run(jax.vmap(advance), state)
  return Solution(
    points=jax.vmap(unravel)(state.z),
    residual_N=jnp.linalg.norm(state.v, axis=-1),
    steps_N=state.steps,
    status_N=state.status,
    fallbacks_N=state.fallbacks,
    folded=state.carry,
  )


def _run(advance, state: _State) -> _State:
  """Advances until none runs, in ever smaller batches of those that do."""
  size = len(state.status)
  while size:
    left = size // _SHRINK if size // _SHRINK >= _SMALLEST else 0
    # Those that run come first; there are at most `size`.
    order = jnp.argsort(state.status != RUNNING, stable=True)[:size]
    part = jax.lax.while_loop(
      lambda part, left=left: jnp.sum(part.status == RUNNING) > left,
      advance,
      jax.tree.map(lambda x, order=order: x[order], state),
    )
    state = jax.tree.map(
      lambda whole, x, order=order: whole.at[order].set(x), state, part
    )
    size = left
  return state


def _select(condition, true, false):
  return jax.tree.map(
    lambda a, b: jnp.where(condition, a, b).astype(b.dtype), true, false
  )


def _nothing(carry, z, step):
  del z, step
  return carry


def check_starts(starts: Any) -> None:
  """Raises a ValueError when there is no batch of floating points."""
  leaves = jax.tree.leaves(starts)
  shapes = [np.shape(x) for x in leaves]
  if not leaves or not all(shapes) or len({s[0] for s in shapes}) != 1:
    raise ValueError(f"starts of shapes {shapes} have no common leading axis")
  if not shapes[0][0]:
    raise ValueError(f"starts of shapes {shapes} hold no start")
  if not all(jnp.issubdtype(x.dtype, jnp.inexact) for x in leaves):
    raise ValueError(
      f"starts have dtypes {[str(x.dtype) for x in leaves]}; only floating "
      "ones can be iterated"
    )


def fixed_point(
  fn: Callable[[Params, Any], Any],
  params: Params,
  start: Any,
  *,
  method: methods.Method | None = None,
  tolerance: float = 1e-5,
  budget: int = 1000,
) -> Any:
  """The fixed point from one start, with the gradient of the implicit equation.

  With z = f(params, z), a cotangent g becomes w' df/dparams, where
  (I - J') w = g; the path to z is not stored. The gradient with respect to
  the start is 0. Where z was not found, or the system for w not solved, the
  gradient is NaN: never a number that is wrong.

  Args:
    fn: `(params, z) -> z`; must not close over what is differentiated.
    params: a tree of floating arrays.
    start: one point.
    method: how to step; None is `methods.picard()`.
    tolerance: of |f(z) - z|.
    budget: most steps.
  """
  settings = (method or methods.picard(), tolerance, budget)
  return _fixed_point(fn, settings, params, start)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _fixed_point(fn, settings, params, start):
  return _forward(fn, settings, params, start)[0]


def _forward(fn, settings, params, start):
  method, tolerance, budget = settings
  solution = solve(
    functools.partial(fn, params),
    jax.tree.map(lambda x: jnp.asarray(x)[None], start),
    method=method,
    tolerance=tolerance,
    budget=budget,
  )
  point = jax.tree.map(lambda x: x[0], solution.points)
  return point, (params, point, solution.status_N[0] == CONVERGED)


def _backward(fn, settings, saved, d_point):
  del settings
  params, point, found = saved
  _, vjp = jax.vjp(fn, params, point)
  d_D, unravel = ravel_pytree(d_point)
  transposed = lambda w_D: w_D - ravel_pytree(vjp(unravel(w_D))[1])[0]
  w_D, solved = krylov.gmres(transposed, d_D, size=50)
  w_D = jnp.where(found & solved, w_D, jnp.nan)
  return vjp(unravel(w_D))[0], jax.tree.map(jnp.zeros_like, point)


_fixed_point.defvjp(_forward, _backward)
