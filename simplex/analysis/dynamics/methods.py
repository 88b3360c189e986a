"""Ways to the next iterate of a fixed-point problem z = f(z)."""

from collections.abc import Callable
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simplex.analysis.dynamics import krylov
from simplex.types import Array


class Method(NamedTuple):
  """How one sample moves; `v` is the field f(z) - z at z.

  Attributes:
    init: `z_D -> state`.
    next: `(fn, z_D, v_D, state) -> (z_D, state, fell_back)`. The last is true
      where the method's own step was not possible, or not better, and a
      simpler one was taken.
  """

  init: Callable[[Array], Any]
  next: Callable[..., tuple[Array, Any, Array]]


@functools.cache  # equal settings are one object, so programs are reused
def picard(damping: float = 1.0) -> Method:
  """Moves to z + damping * v: iterates f, or averages it with the identity.

  Args:
    damping: in (0, 1]; 1 iterates f itself.

  Raises:
    ValueError: `damping` is outside (0, 1].
  """
  _check_damping(damping)

  def step(fn, z_D, v_D, state):
    del fn
    return z_D + damping * v_D, state, jnp.bool_(False)

  return Method(lambda z_D: (), step)


class History(NamedTuple):
  """The last points and fields, the newest first, and how many are real."""

  z_MD: Array
  v_MD: Array
  count: Array


@functools.cache
def anderson(memory: int = 5, damping: float = 1.0) -> Method:
  """Anderson's mixing of type II (1965; Walker & Ni 2011).

  Finds the combination of the last fields that is shortest, and moves to the
  same combination of the points. Differences to the newest are made orthogonal,
  newest first; one that depends on the others up to rounding is left out, so
  that a singular system is a smaller one. The step then counts as fallen back.

  Args:
    memory: earlier points that are used, at least 1.
    damping: in (0, 1], of the field.

  Raises:
    ValueError: `memory` is below 1 or `damping` outside (0, 1].
  """
  _check_damping(damping)
  if memory < 1:
    raise ValueError(f"memory={memory} must be at least 1")

  def init(z_D):
    zeros_MD = jnp.zeros((memory, z_D.size), z_D.dtype)
    return History(zeros_MD, zeros_MD, jnp.int32(0))

  def step(fn, z_D, v_D, history):
    del fn
    fields = v_D - history.v_MD
    moves = z_D - history.z_MD + damping * fields
    floor = 100 * jnp.finfo(z_D.dtype).eps
    z_next_D, dropped = z_D + damping * v_D, jnp.bool_(False)
    used = []
    for i in range(memory):
      field_D, move_D = fields[i], moves[i]
      length = jnp.linalg.norm(field_D)
      for q_D, p_D in used:  # the move shares all that the field undergoes
        share = q_D @ field_D
        field_D, move_D = field_D - share * q_D, move_D - share * p_D
      left = jnp.linalg.norm(field_D)
      real = i < history.count
      keep = real & (left > floor * length)
      scale = jnp.where(keep, 1 / jnp.where(keep, left, 1.0), 0.0)
      used.append((field_D * scale, move_D * scale))
      z_next_D -= (used[-1][0] @ v_D) * used[-1][1]
      dropped |= real & ~keep
    push = lambda old_MD, new_D: jnp.roll(old_MD, 1, axis=0).at[0].set(new_D)
    history = History(
      push(history.z_MD, z_D),
      push(history.v_MD, v_D),
      jnp.minimum(history.count + 1, memory),
    )
    return z_next_D, history, dropped

  return Method(init, step)


@functools.cache
def newton_krylov(size: int = 20, restarts: int = 1) -> Method:
  """Newton's method on f(z) - z = 0, each system solved by GMRES.

  It also finds saddles, which iteration leaves. A step that does not make the
  field shorter is replaced by one of Picard, and counts as fallen back.

  Args:
    size: Jacobian-vector products of a round of GMRES.
    restarts: rounds of GMRES in a step.

  Raises:
    ValueError: one of them is below 1.
  """
  if min(size, restarts) < 1:
    raise ValueError(f"size={size} and restarts={restarts} must be at least 1")

  def step(fn, z_D, v_D, state):
    _, jvp = jax.linearize(fn, z_D)
    matvec = lambda x_D: x_D - jvp(x_D)
    delta_D, _ = krylov.gmres(matvec, v_D, size=size, restarts=restarts)
    z_next_D = z_D + delta_D
    length = jnp.linalg.norm(fn(z_next_D) - z_next_D)
    better = length < jnp.linalg.norm(v_D)  # false for NaN
    return jnp.where(better, z_next_D, z_D + v_D), state, ~better

  return Method(lambda z_D: (), step)


def _check_damping(damping):
  if not 0 < damping <= 1:
    raise ValueError(f"damping={damping} is not in (0, 1]")
