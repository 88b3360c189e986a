"""The toys of SingLoRA's paper: attention, width, and what they rest on."""

from collections.abc import Callable
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.adapters import adapter, lora, singlora, targets
from simplex.analysis import low_rank
from simplex.types import Array, Key, Params, Source
from trainers import optimizers, row_adam, scan
from trainers.problem import Problem

ATTENTION_ARMS = ("lora", "singlora", "lora_rank")


@dataclasses.dataclass(frozen=True)
class Attention:
  """Figure 1: an attention score learnt through two adapted kernels.

  `|X W_q W_k^T X^T - Z|^2`, mean over entries, with X of `[length, width]` and
  variance 1 / width, and Z normal. The paper leaves `length`, `rank` and the
  laws of X and Z open.
  """

  width: int = 128
  length: int = 32
  rank: int = 8  # of LoRA; SingLoRA has twice as much
  num_steps: int = 15_000
  evals: int = 50
  num_seeds: int = 8
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=1e-4, schedule="constant", weight_decay=0.01, clip_norm=0.0
  )


@dataclasses.dataclass(frozen=True)
class Width:
  """`|u a a^T x - e|^2 / 2` by gradient descent, `e = y - W_0 x`.

  Attributes:
    widths: n.
    constants: c of the learning rates c n^p.
    exponents: p.
    correlation: of x and e in the runs that can succeed.
    opposed: of x and e in the runs that cannot, below 0.
    num_steps: of descent.
    ramp_steps: T.
    num_seeds: of x, e and the start.
    converged: loss over that at the start, below which a run has converged.
  """

  widths: tuple[int, ...] = (64, 256, 1024, 4096, 16_384)
  constants: tuple[float, ...] = (0.03, 0.1, 0.3)
  exponents: tuple[float, ...] = (-0.5, -1.0)
  correlation: float = 0.7
  opposed: float = -0.7
  num_steps: int = 1000
  ramp_steps: int = 10
  num_seeds: int = 5
  converged: float = 1e-3


@dataclasses.dataclass(frozen=True)
class Invariance:
  """Descent of `|A[:d_in] A^T - G|^2` from A and from A Q, in float64."""

  width: int = 40
  rank: int = 4
  d_ins: tuple[int, ...] = (40, 10)
  num_steps: int = 20
  num_seeds: int = 5


OPTIMIZERS: dict[str, Callable[[], optax.GradientTransformation]] = {
  "SGD": lambda: optax.sgd(1e-3),
  "SGD, Nesterov": lambda: optax.sgd(1e-3, momentum=0.9, nesterov=True),
  "row_adam": lambda: optax.chain(
    row_adam.scale_by_row_adam(), optax.scale(-0.02)
  ),
  "AdamW": lambda: optax.adamw(0.02),
}


def attention(cfg: Attention, seed: int) -> tuple[np.ndarray, dict]:
  """Losses of LoRA and SingLoRA at equal parameters, and LoRA at equal rank.

  Returns:
    The steps of the evaluations; arm to losses `[seeds, evals]`.
  """
  keys = jax.random.split(jax.random.key(seed), cfg.num_seeds)
  every = cfg.num_steps // cfg.evals
  tx = optimizers.make(cfg.optimizer, cfg.num_steps)

  def run(key):
    data_key, fit_key = jax.random.split(key)
    drawn = draw_scores(cfg, data_key)
    losses = {}
    for arm in ATTENTION_ARMS:
      fitted = attention_problem(cfg, arm, drawn)
      *_, evals = scan.fit(fitted, tx, fit_key, cfg.num_steps, eval_every=every)
      losses[arm] = evals["toy/loss"]
    return losses

  found = scan.sweep(run, keys)
  return np.arange(0, cfg.num_steps + 1, every), {
    arm: found[arm]
    for arm in ATTENTION_ARMS  # in this order
  }


class Scores(NamedTuple):
  """One draw of Figure 1's toy; `base` are the two kernels."""

  x_TE: Array
  z_TS: Array
  base: Params


def draw_scores(cfg: Attention, key: Key) -> Scores:
  """What all arms learn."""
  x_key, z_key, *keys = jax.random.split(key, 4)
  T, E = cfg.length, cfg.width
  kaiming = jax.nn.initializers.he_normal()
  return Scores(
    jax.random.normal(x_key, (T, E)) / E**0.5,
    jax.random.normal(z_key, (T, T)),
    {
      name: {"kernel": kaiming(key, (E, E))}
      for name, key in zip(("query", "key"), keys, strict=True)
    },
  )


def attention_problem(cfg: Attention, arm: str, drawn: Scores) -> Problem:
  """Figure 1's toy, learnt by an arm."""
  x_TE, z_TS, base = drawn
  rank = cfg.rank if arm == "lora" else 2 * cfg.rank
  config = targets.Config(rank=rank, alpha=float(rank))
  one = lora.lora(config)
  if arm == "singlora":
    one = singlora.singlora(config, cfg.num_steps)

  def value(tree, step):
    query_TE, key_TE = (
      adapter.project(x_TE, base[path.split("/")[0]]["kernel"], f)
      for path, f in one.factors(base, tree, step).items()
    )
    return jnp.mean((query_TE @ key_TE.T - z_TS) ** 2)

  def loss(tree, batch, *, key, step):
    del batch, key
    return value(tree, step + 1), {}

  nothing = Source(lambda key: jnp.zeros(()), lambda state: ({}, state))
  end = lambda tree, key: {"loss": value(tree, cfg.num_steps)}
  return Problem(lambda key: one.init(key, base), loss, nothing, {"toy": end})


def width(cfg: Width, seed: int) -> dict[str, np.ndarray]:
  """Loss at the end over that at the start; infinite where descent diverged.

  Returns:
    "lora" and "singlora", `[widths, exponents, constants, seeds]`; "opposed",
    SingLoRA at the last exponent where x and e are opposed, as a loss for each
    dimension, `[widths, constants, seeds]`.
  """
  found = [
    _of_width(cfg, n, jax.random.fold_in(jax.random.key(seed), i))
    for i, n in enumerate(cfg.widths)
  ]
  return jax.tree.map(
    lambda *xs: np.nan_to_num(np.stack(xs), nan=np.inf), *found
  )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _of_width(cfg, n, key):
  """What `width` found, of one of them."""
  rates = np.outer(np.power(float(n), cfg.exponents), cfg.constants)
  keys = jax.random.split(key, cfg.num_seeds)
  drawn = jax.vmap(functools.partial(_draw_vectors, n))(keys)

  def descend(arm, correlation, rates):
    one = functools.partial(_descend, cfg, arm, correlation)
    over_seeds = jax.vmap(one, (None, 0))
    losses = jax.vmap(over_seeds, (0, None))(rates.ravel(), drawn)
    return [x.reshape(*rates.shape, -1) for x in losses]

  found = {}
  for arm in ("lora", "singlora"):
    starts, ends = descend(arm, cfg.correlation, rates)
    found[arm] = ends / starts
  _, ends = descend("singlora", cfg.opposed, rates[-1])
  return found | {"opposed": ends / n}


def _draw_vectors(n, key):
  """x, a vector orthogonal to it, and a."""
  x_key, e_key, a_key = jax.random.split(key, 3)
  x_E, other_E = jax.random.normal(x_key, (n,)), jax.random.normal(e_key, (n,))
  # Exactly so correlated, and of size sqrt(n), whatever was drawn.
  x_E /= jnp.sqrt(jnp.mean(x_E**2))
  other_E -= jnp.mean(other_E * x_E) * x_E
  other_E /= jnp.sqrt(jnp.mean(other_E**2))
  a_E = jax.random.uniform(a_key, (n,), minval=-1, maxval=1) / n**0.5
  return x_E, other_E, a_E


def _descend(cfg, arm, correlation, rate, drawn):
  """Losses at the start and at the end."""
  x_E, other_E, a_E = drawn
  e_E = correlation * x_E + (1 - correlation**2) ** 0.5 * other_E
  tree = (a_E,) if arm == "singlora" else (a_E, jnp.zeros_like(a_E))

  def loss(tree, step):
    share = singlora.share(step, cfg.ramp_steps) if len(tree) == 1 else 1.0
    return jnp.sum((share * tree[-1] * (tree[0] @ x_E) - e_E) ** 2) / 2

  def descend(tree, step):
    grads = jax.grad(loss)(tree, step)
    return jax.tree.map(lambda w, g: w - rate * g, tree, grads), None

  start = loss(tree, 0)
  tree, _ = jax.lax.scan(descend, tree, jnp.arange(1, cfg.num_steps + 1))
  return start, loss(tree, cfg.num_steps)


def invariance(cfg: Invariance, seed: int) -> dict[str, np.ndarray]:
  """How far the changes from A and from A Q come apart, `[d_ins, seeds]`.

  The distance of the two products, over how far the first one moved.
  """
  with jax.enable_x64(True):
    keys = jax.random.split(jax.random.key(seed), cfg.num_seeds)
    found = jax.jit(jax.vmap(functools.partial(_distances, cfg)))(keys)
  return {name: np.stack(x) for name, x in found.items()}


def _distances(cfg, key):
  """Of one draw, by optimizer, for each of the `d_ins`."""
  a_key, q_key, g_key = jax.random.split(key, 3)
  n, r = cfg.width, cfg.rank
  a = 0.3 * jax.random.normal(a_key, (n, r), jnp.float64)
  q, _ = jnp.linalg.qr(jax.random.normal(q_key, (r, r), jnp.float64))
  goal = jax.random.normal(g_key, (max(cfg.d_ins), n), jnp.float64)
  return {
    name: [_apart(cfg, tx(), a, q, goal[:d_in]) for d_in in cfg.d_ins]
    for name, tx in OPTIMIZERS.items()
  }


def _apart(cfg, tx, a, q, goal):
  product = lambda a: a[: len(goal)] @ a.T

  def step(state, _):
    a, opt_state = state
    grads = jax.grad(lambda a: jnp.sum((product(a) - goal) ** 2))(a)
    updates, opt_state = tx.update(grads, opt_state, a)
    return (optax.apply_updates(a, updates), opt_state), None

  def run(a):
    (a, _), _ = jax.lax.scan(step, (a, tx.init(a)), length=cfg.num_steps)
    return product(a)

  one, two = jax.lax.map(run, jnp.stack([a, a @ q]))
  norm = jnp.linalg.norm
  return norm(one - two) / norm(one - product(a))


def captured(
  width: int, ranks: tuple[int, ...], num_seeds: int, seed: int
) -> dict[str, np.ndarray]:
  """Shares of Gaussian changes in reach of adapters, `[ranks, seeds]`.

  "lora" at half of each rank, so that it has as many parameters, "singlora"
  and "lora_rank" at the rank itself.
  """

  def draw(key):
    return shares(jax.random.normal(key, (num_seeds, width, width)), ranks)

  return jax.device_get(jax.jit(draw)(jax.random.key(seed)))


def shares(changes_NEE: Array, ranks: tuple[int, ...]) -> dict[str, Array]:
  """As for `captured`, of given square changes."""
  pair, one = low_rank.captured_by_pair, low_rank.captured_by_one
  many = lambda fn, r: jax.vmap(lambda x: fn(x, r))(changes_NEE)
  return {
    "lora": jnp.stack([many(pair, r // 2) for r in ranks]),
    "singlora": jnp.stack([many(one, r) for r in ranks]),
    "lora_rank": jnp.stack([many(pair, r) for r in ranks]),
  }


def initial_norms(
  width: int, rank: int, num_seeds: int, seed: int
) -> dict[str, np.ndarray]:
  """Spectral norms of A A^T at the start, over that of a kernel, `[seeds]`.

  The kernel is a default one of torch, uniform of variance 1 / (3 n).
  """

  def one(key):
    a_key, w_key = jax.random.split(key)
    kernel = jnp.zeros((width, width))
    a = adapter.uniform(a_key, kernel, (width, rank))
    kernel = adapter.uniform(w_key, kernel, (width, width))
    size = lambda a: jnp.linalg.norm(a, ord=2)
    ratio = size(a) ** 2 / size(kernel)
    return {"n": ratio, "r": width / rank * ratio}

  keys = jax.random.split(jax.random.key(seed), num_seeds)
  found = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
  return jax.device_get(found)
