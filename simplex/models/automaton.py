"""Neural cellular automata: one small rule, the same in every cell.

The default is the automaton of Xu & Miikkulainen 2025
(https://arxiv.org/abs/2506.15746), 10,410 parameters:

    h = relu(norm(convolve3x3(s)))          what the cell sees
    h = relu(norm(dense([h, colours(s)])))
    s' = dense(h), colours through softmax(. / 5)
    s <- (1 - k) s' + k s                   k = 0 when all cells fire

with k = r for a fraction `drop` of the cells, r uniform on (0, 1). Options make
it the growing automaton of Mordvintsev et al. 2020: fixed filters, a residual
update, cells that are alive, linear channels, a torus.
"""

import dataclasses
import functools
import itertools
import math
from typing import Any, Literal

from flax import linen as nn
import jax
from jax.ad_checkpoint import checkpoint_name
import jax.numpy as jnp

from simplex.models import perception
from simplex.types import Array, Key, Params

ALIVE = 0.1  # a cell lives where one near it has more of the alive channel
EPSILON = 1e-6
BLOCK = {True: 2000, False: 2**30}  # cells that are computed together


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes and choices.

  Attributes:
    num_colors: visible channels, the first of the state.
    hidden_channels: the others.
    perception_width: channels that a learned perception makes.
    width: of the hidden layer.
    kernel: side of the learned perception.
    dilations: distances at which neighbours are seen, each with its kernels.
    filters: keys of `perception.FILTERS`, fixed; none means learned.
    steps: of a rollout, where the caller gives no other number.
    max_drop: in training, the largest fraction of cells that hold back.
    hold: what cells that hold back do: "blend" keeps a random part of the old
      state, "skip" all of it.
    temperature: of the softmax over visible channels; None leaves them linear.
    residual: whether the rule gives a change; it then begins at no change.
    normalized: whether layers are normalised over channels.
    alive_channel: a channel without which a cell is 0; None is off.
    boundary: "wall", beyond which all is 0, or "torus"; a torus needs grids
      that fill their array.
  """

  num_colors: int = 10
  hidden_channels: int = 20
  perception_width: int = 30
  width: int = 30
  kernel: int = 3
  dilations: tuple[int, ...] = (1,)
  filters: tuple[str, ...] = ()
  steps: int = 10
  max_drop: float = 0.75
  hold: Literal["blend", "skip"] = "blend"
  temperature: float | None = 5.0
  residual: bool = False
  normalized: bool = True
  alive_channel: int | None = None
  boundary: Literal["wall", "torus"] = "wall"

  def __post_init__(self):
    _check(self)

  @property
  def channels(self) -> int:
    """Of the state."""
    return self.num_colors + self.hidden_channels


CHOICES = {"hold": ("blend", "skip"), "boundary": ("wall", "torus")}


def _check(config: Config) -> None:
  size = {
    "num_colors": 1,
    "hidden_channels": 0,
    "perception_width": 1,
    "width": 1,
    "steps": 1,
  }
  for name, least in size.items():
    if getattr(config, name) < least:
      raise ValueError(
        f"{name}={getattr(config, name)} must be at least {least}"
      )
  for name, allowed in CHOICES.items():
    if getattr(config, name) not in allowed:
      raise ValueError(
        f"{name}={getattr(config, name)!r} is not one of {list(allowed)}"
      )
  if unknown := set(config.filters) - set(perception.FILTERS):
    raise ValueError(
      f"filters {sorted(unknown)} are not among {list(perception.FILTERS)}"
    )
  allowed = (3,) if config.filters else range(1, config.kernel + 1, 2)
  if config.kernel not in allowed:
    raise ValueError(
      f"kernel={config.kernel} must be odd, and 3 with fixed filters"
    )
  if min(config.dilations, default=0) < 1:
    raise ValueError(f"dilations={config.dilations} must be 1 or more each")
  if not 0 <= config.max_drop < 1:
    raise ValueError(f"max_drop={config.max_drop} is not in [0, 1)")
  if config.alive_channel not in (None, *range(config.channels)):
    raise ValueError(
      f"alive_channel={config.alive_channel} is not one of the "
      f"{config.channels} channels"
    )


class Automaton(nn.Module):
  """`init` makes the rule, `apply` runs `rollout`."""

  config: Config

  @nn.compact
  def __call__(
    self, state_YXC: Array, mask_YX: Array, key: Key | None = None, **kwargs
  ) -> tuple[Array, Array]:
    """The last state and the visible channels of each step: see `rollout`."""
    rule = self.param("rule", lambda key: init_params(self.config, key))
    return rollout(self.config, rule, state_YXC, mask_YX, key, **kwargs)


def init_params(
  config: Config, key: Key, *, height: int | None = None
) -> Params:
  """A random rule: kernels uniform within `1 / sqrt(fan-in)`, biases 0.

  Args:
    config: of the automaton.
    key: of the kernels.
    height: rows of a learned perception; None is a square. With 1, cells see
      their own row alone: grids of a single row then need no other products.
  """
  seen = config.perception_width
  shapes = {}
  if config.filters:
    seen = len(config.filters) * len(config.dilations) * config.channels
  else:
    near = len(config.dilations), height or config.kernel, config.kernel
    shapes["perception"] = (*near, config.channels, seen)
  shapes["hidden"] = (seen + config.num_colors, config.width)
  shapes["out"] = (config.width, config.channels)
  params = _layers(key, shapes)
  if config.residual:
    params["out"] = jax.tree.map(jnp.zeros_like, params["out"])
  if config.normalized:
    params["norms"] = [_norm(seen), _norm(config.width)]
  return params


def _layers(key, shapes):
  """One draw for all kernels: each draw costs a second of compilation."""
  sizes = [math.prod(shape) for shape in shapes.values()]
  draws = jnp.split(
    jax.random.uniform(key, (sum(sizes),), minval=-1.0),
    list(itertools.accumulate(sizes))[:-1],
  )
  return {
    name: {
      "kernel": draw.reshape(shape) * math.prod(shape[:-1]) ** -0.5,
      "bias": jnp.zeros(shape[-1]),
    }
    for draw, (name, shape) in zip(draws, shapes.items(), strict=True)
  }


def _norm(width):
  return {"scale": jnp.ones(width), "bias": jnp.zeros(width)}


def init_state(config: Config, grid_YX: Array) -> Array:
  """One-hot colours and hidden zeros, `[..., Y, X, C]`.

  Args:
    config: of the automaton.
    grid_YX: colours, integers in [0, num_colors); others become 0 everywhere,
      as -1 outside of a grid. Leading axes are a batch.
  """
  return jax.nn.one_hot(grid_YX, config.channels) * (
    jnp.arange(config.channels) < config.num_colors
  )


def random_drop(config: Config, key: Key, shape: tuple[int, ...] = ()) -> Array:
  """One fraction of cells that hold back for each rollout, U(0, max_drop)."""
  return jax.random.uniform(key, shape, maxval=config.max_drop)


def rollout(
  config: Config,
  params: Params,
  state_YXC: Array,
  mask_YX: Array,
  key: Key | None = None,
  *,
  steps: int | None = None,
  drop: Array | float = 0.0,
  targets_YX: Array | None = None,
) -> tuple[Array, Array]:
  """Runs the automaton.

  Leading axes are a batch that shares the rule, in one flat array; `vmap` is
  for rules that differ.

  Args:
    config: of the automaton.
    params: of `init_params`.
    state_YXC: where it begins.
    mask_YX: 1 on real cells; all else stays 0, as beyond a wall.
    key: of the cells that hold back; None makes all fire.
    steps: None takes those of `config`.
    drop: probability to hold back, one for all or one for each grid.
    targets_YX: one channel for each cell; None wants all that are visible.

  Returns:
    The last state, `[..., Y, X, C]`, and the visible channels after each step,
    `[T, ..., Y, X, K]`: probabilities, where there is a temperature. With
    targets only those, `[T, ..., Y, X]`: all that a loss needs.
  """
  *batch, Y, X, C = state_YXC.shape
  count = math.prod(batch)
  size = _block(count, Y * X)
  steps = config.steps if steps is None else steps
  blocks = lambda x, *shape: jnp.broadcast_to(x, (*batch, *shape)).reshape(
    -1, size, *shape
  )
  last, seen_bTBYX = jax.lax.map(
    lambda block: _rollout(config, params, steps, *block),
    (
      blocks(state_YXC, Y, X, C),
      blocks(mask_YX, Y, X),
      blocks(jnp.asarray(drop)[..., None, None], Y, X),
      None if key is None else jax.random.split(key, count // size),
      None if targets_YX is None else blocks(targets_YX, Y, X),
    ),
  )
  seen = jnp.moveaxis(seen_bTBYX, 0, 1)
  return last.reshape(state_YXC.shape), seen.reshape(
    steps, *batch, Y, X, *seen.shape[5:]
  )


def _block(count: int, cells: int) -> int:
  """How many grids go through a rollout together: a divisor of `count`.

  On a CPU, as many as keep its caches warm.
  """
  most = BLOCK[jax.default_backend() == "cpu"] // cells
  return max(
    n for n in range(1, count + 1) if count % n == 0 and n <= max(most, 1)
  )


def _rollout(
  config, params, steps, state_BYXC, mask_BYX, drop_BYX, key, targets_BYX
):
  B, Y, X, _ = state_BYXC.shape
  layout = perception.Layout(B, Y, X, config.boundary == "torus")
  mask_N = layout.flatten(mask_BYX[..., None].astype(jnp.float32))[0]
  hold_TN = jnp.zeros((steps, layout.size))
  if key is not None:
    drop_N = layout.flatten(drop_BYX[..., None])[0]
    hold_TN = _hold(config, key, drop_N, hold_TN.shape)
  advance = jax.checkpoint(
    functools.partial(_step, config, layout, params),
    policy=jax.checkpoint_policies.save_only_these_names("seen"),
  )

  watch = lambda colours_KN: colours_KN
  if targets_BYX is not None:
    right_KN = layout.flatten(jax.nn.one_hot(targets_BYX, config.num_colors))
    watch = lambda colours_KN: jnp.sum(colours_KN * right_KN, axis=0)

  def step(state, now):
    state = advance(state, *now)
    return state, watch(state[0])

  # Colours and hidden channels apart: gradients need no zeros around either.
  state = _split(config, layout.flatten(state_BYXC) * mask_N)
  state, seen_TN = jax.lax.scan(step, state, (mask_N * (1 - hold_TN), hold_TN))
  seen = layout.unflatten(seen_TN.reshape(steps, -1, layout.size))
  if targets_BYX is not None:
    seen = seen[..., 0]
  return layout.unflatten(jnp.concatenate(state)), seen


def _hold(config, key, drop_N, shape):
  """How much of its old state each cell keeps: drawn for all steps at once."""
  # u < p has probability p, and u / p is then uniform: one draw for both.
  u_TN = jax.random.uniform(key, shape)
  share_TN = u_TN / drop_N if config.hold == "blend" else 1.0
  return jnp.where(u_TN < drop_N, share_TN, 0.0)


def _step(config, layout, params, state, fire_N, hold_N):
  new = _rule(config, layout, params, state)
  if config.residual:
    new = jax.tree.map(jnp.add, state, new)
  new = jax.tree.map(lambda x, old: x * fire_N + old * hold_N, new, state)
  if config.alive_channel is not None:
    alive = [
      perception.largest(jnp.concatenate(x)[config.alive_channel], layout)
      > ALIVE
      for x in (state, new)
    ]
    new = jax.tree.map(lambda x: x * (alive[0] & alive[1]), new)
  return new


def _rule(config, layout, params, state):
  seen_PN = _see(config, layout, params, jnp.concatenate(state))
  seen_PN = checkpoint_name(seen_PN, "seen")
  norms = params.get("norms", (None, None))
  seen_PN = jax.nn.relu(_normalize(norms[0], seen_PN))
  h_FN = _dense(params["hidden"], jnp.concatenate([seen_PN, state[0]]))
  h_FN = jax.nn.relu(_normalize(norms[1], h_FN))
  colours_KN, hidden_HN = _split(config, _dense(params["out"], h_FN))
  if config.temperature is not None:
    colours_KN = jax.nn.softmax(colours_KN / config.temperature, axis=0)
  return colours_KN, hidden_HN


def _split(config, state_CN):
  return tuple(jnp.split(state_CN, [config.num_colors]))


def _see(config, layout, params, state_CN):
  if config.filters:
    return jnp.concatenate(
      [
        perception.filtered(state_CN, config.filters, layout, dilation)
        for dilation in config.dilations
      ]
    )
  layer = params["perception"]
  seen_PN = sum(
    perception.convolve(kernel_yxCP, state_CN, layout, dilation)
    for kernel_yxCP, dilation in zip(
      layer["kernel"], config.dilations, strict=True
    )
  )
  return seen_PN + layer["bias"][:, None]


def _dense(layer: Any, x_CN):
  return layer["kernel"].T @ x_CN + layer["bias"][:, None]


def _normalize(norm: Any, x_CN):
  """Layer norm over the channels (Ba et al. 2016)."""
  if norm is None:
    return x_CN
  x_CN = x_CN - jnp.mean(x_CN, axis=0)
  scale_N = jax.lax.rsqrt(jnp.mean(x_CN**2, axis=0) + EPSILON)
  return x_CN * scale_N * norm["scale"][:, None] + norm["bias"][:, None]
