"""The iterated process: machines read rows of a bank and write them back.

Bloem, "Universal pre-training by iterated random computation" (2025). Every
step overwrites a few rows with constants and noise, draws fresh machines, runs
them on rows of the bank, and puts their output in place of the rows that they
read. What is left by earlier machines is the input of later ones, so that the
bank holds a mixture over depths of computation at the cost of one.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from simplex.data.random_computation import mixtures
from simplex.types import Array, Key, Source


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes of one group; groups share nothing, and may live on one device each.

  A step writes `num_machines * rows_per_machine` rows in each group.
  """

  mixture: str = "structured"  # one of mixtures.MIXTURES
  num_machines: int = 8
  rows_per_machine: int = 16
  bank_rows: int = 1280
  constant_resets: int = 16  # rows of one repeated token, each step
  random_resets: int = 16  # rows of uniform noise, each step
  seed_length: int = 8  # S, tokens a machine is started with
  iterate: bool = True  # False: machines read only constants and noise
  num_groups: int = 1  # a multiple of the number of devices
  hidden: int = 0  # width of the machines; 0: as in the mixture
  layers: int = 0  # depth of the machines; 0: as in the mixture


def official(num_groups: int = 1) -> Config:
  """The settings of the published code."""
  return Config(
    mixture="official",
    num_machines=1,
    rows_per_machine=104,
    bank_rows=2080,
    constant_resets=50,
    random_resets=50,
    num_groups=num_groups,
  )


class State(NamedTuple):
  """The groups' banks; the leading axis of every array is the group's."""

  key: Array  # raw key data, so that it can be saved
  step: Array
  bank: Array  # uint8 [groups, rows, context + 1]


def source(config: Config, batch_size: int, context: int) -> Source:
  """Rows of the bank as batches for a language model, without an end.

  A row has `context + 1` tokens, so every position of the context is trained.

  Args:
    config: sizes of a group.
    batch_size: rows in a batch, over all groups.
    context: T, tokens that the model reads.

  Returns:
    A source of `{"tokens", "targets"}`, int32 `[batch_size, context]` in
    [0, 256), the targets one position ahead. A group fills its own part of the
    batch, so splitting state and batch over devices splits the work.

  Raises:
    ValueError: a size does not fit, or the mixture is not known.
  """
  _check(config, batch_size, context)
  mixture = _mixture(config)
  rows_per_group = batch_size // config.num_groups

  def next_group(state):
    key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
    bank_key, rows_key, outlet_key = jax.random.split(key, 3)
    bank_NT, _ = _advance(bank_key, state.bank, config, mixture)
    (chosen_N,) = _orders(rows_key, 1, config.bank_rows)
    rows_NT = bank_NT[chosen_N[:rows_per_group]].astype(jnp.int32)
    rows_NT = mixture.outlet(outlet_key, rows_NT)
    return rows_NT, State(state.key, state.step + 1, bank_NT)

  def next_batch(state):
    rows_GNT, state = jax.vmap(next_group)(state)
    rows_BT = rows_GNT.reshape(batch_size, context + 1)
    return {"tokens": rows_BT[:, :-1], "targets": rows_BT[:, 1:]}, state

  return Source(lambda key: _init(key, config, context), next_batch)


def rounds(config: Config, key: Key, num_rounds: int, context: int) -> Array:
  """What the machines of one group write, step after step, for pictures.

  Args:
    config: sizes of a group.
    key: random key.
    num_rounds: steps.
    context: tokens in a row, less one.

  Returns:
    int32 `[num_rounds, num_machines * rows_per_machine, context + 1]`; rows of
    one machine are neighbours, and kinds follow each other as in the mixture.
  """
  config = dataclasses.replace(config, num_groups=1)
  _check(config, 1, context)
  mixture = _mixture(config)
  init_key, key = jax.random.split(key)
  bank_NT = _init(init_key, config, context).bank[0]
  _, rows_rNT = jax.lax.scan(
    lambda bank_NT, key: _advance(key, bank_NT, config, mixture),
    bank_NT,
    jax.random.split(key, num_rounds),
  )
  return rows_rNT


def _init(key: Key, config: Config, context: int) -> State:
  def init_group(key):
    # Constants only: the first machines write the simplest strings.
    bank_key, key = jax.random.split(key)
    bank_NT = _simple(bank_key, jnp.ones(config.bank_rows, bool), context + 1)
    return State(jax.random.key_data(key), jnp.zeros((), jnp.int32), bank_NT)

  return jax.vmap(init_group)(jax.random.split(key, config.num_groups))


def _advance(key, bank_NT, config, mixture) -> tuple[Array, Array]:
  """One step of a group: the new bank, and the rows that were written."""
  order_key, simple_key, start_key, run_key = jax.random.split(key, 4)
  orders = _orders(order_key, 3, config.bank_rows)
  N = config.num_machines * config.rows_per_machine
  write_N, read_N = orders[0, :N], orders[1, :N]
  if config.iterate:
    num_resets = config.constant_resets + config.random_resets
    is_constant_r = jnp.arange(num_resets) < config.constant_resets
    fresh_rT = _simple(simple_key, is_constant_r, bank_NT.shape[1])
    bank_NT = bank_NT.at[orders[2, :num_resets]].set(fresh_rT)
    seeds_NS = _cut(start_key, bank_NT[read_N], config)
    conditions_NT = bank_NT[write_N]
  else:
    seeds_NS, conditions_NT = _unread(simple_key, bank_NT.shape[1], config)
  rows_NT = _run(
    run_key,
    seeds_NS.astype(jnp.int32),
    conditions_NT.astype(jnp.int32),
    config,
    mixture,
  )
  return bank_NT.at[write_N].set(rows_NT.astype(jnp.uint8)), rows_NT


def _run(key, seeds_NS, conditions_NT, config, mixture) -> Array:
  """Fresh machines of every part, each on its own rows."""
  M, T = config.num_machines, conditions_NT.shape[1]
  seeds = seeds_NS.reshape(M, config.rows_per_machine, config.seed_length)
  conditions = conditions_NT.reshape(M, config.rows_per_machine, T)
  keys = jax.random.split(key, M)
  rows, start = [], 0
  for part, count in zip(
    mixture.parts, mixtures.counts(mixture, M), strict=True
  ):
    kind = part.make(part.config)
    mine = slice(start, start + count)
    params = jax.vmap(kind.init)(keys[mine])
    rows.append(jax.vmap(kind.run)(params, seeds[mine], conditions[mine]))
    start += count
  return jnp.concatenate(rows).reshape(-1, T)


def _cut(key, rows_NT, config) -> Array:
  """Pieces of rows, cut at a place that each machine draws for all of its."""
  S, T = config.seed_length, rows_NT.shape[1]
  start_M = jax.random.randint(key, (config.num_machines,), 0, T - S)
  start_N = jnp.repeat(start_M, config.rows_per_machine)
  return jax.vmap(lambda row_T, t: jax.lax.dynamic_slice(row_T, (t,), (S,)))(
    rows_NT, start_N
  )


def _unread(key, T, config) -> tuple[Array, Array]:
  """Seeds and conditions that no machine wrote, mixed as the resets are."""
  N = config.num_machines * config.rows_per_machine
  choice_key, seed_key, condition_key = jax.random.split(key, 3)
  resets = config.constant_resets + config.random_resets
  share = config.constant_resets / resets
  is_constant_2N = jax.random.bernoulli(choice_key, share, (2, N))
  return (
    _simple(seed_key, is_constant_2N[0], config.seed_length),
    _simple(condition_key, is_constant_2N[1], T),
  )


def _simple(key: Key, is_constant_N: Array, T: int) -> Array:
  """Rows of one repeated token, or else of uniform noise, uint8 `[N, T]`."""
  noise_NT = jax.random.bits(key, (is_constant_N.shape[0], T), jnp.uint8)
  return jnp.where(is_constant_N[:, None], noise_NT[:, :1], noise_NT)


def _orders(key: Key, num_orders: int, N: int) -> Array:
  """Random orders of N rows, `[num_orders, N]`."""
  return jnp.argsort(jax.random.bits(key, (num_orders, N)), axis=1)


def _mixture(config: Config) -> mixtures.Mixture:
  entry = mixtures.MIXTURES[config.mixture]
  return mixtures.resized(entry, hidden=config.hidden, layers=config.layers)


def _check(config: Config, batch_size: int, context: int) -> None:
  if config.mixture not in mixtures.MIXTURES:
    known = sorted(mixtures.MIXTURES)
    raise ValueError(f"mixture={config.mixture!r} is not one of {known}")
  least = {
    "num_machines": 1, "rows_per_machine": 1, "bank_rows": 1,
    "seed_length": 1, "num_groups": 1, "constant_resets": 0,
    "random_resets": 0, "hidden": 0, "layers": 0,
  }  # fmt: skip
  for name, low in least.items():
    if getattr(config, name) < low:
      raise ValueError(f"{name}={getattr(config, name)} must be at least {low}")
  _check_rows(config, batch_size)
  if context < config.seed_length:
    raise ValueError(
      f"context={context} must be at least seed_length={config.seed_length}"
    )
  counts = mixtures.counts(
    mixtures.MIXTURES[config.mixture], config.num_machines
  )
  if not all(counts):
    raise ValueError(
      f"num_machines={config.num_machines} leaves a kind of machine of "
      f"mixture={config.mixture!r} out: {counts} of each; use more"
    )
  for part in _mixture(config).parts:
    part.make(part.config)  # refuses the sizes that it cannot have


def _check_rows(config: Config, batch_size: int) -> None:
  if batch_size < 1 or batch_size % config.num_groups:
    raise ValueError(
      f"batch_size={batch_size} must be a positive multiple of "
      f"num_groups={config.num_groups}"
    )
  resets = config.constant_resets + config.random_resets
  wanted = {
    "num_machines * rows_per_machine": config.num_machines
    * config.rows_per_machine,
    "constant_resets + random_resets": resets,
    "batch_size / num_groups": batch_size // config.num_groups,
  }
  for name, rows in wanted.items():
    if rows > config.bank_rows:
      raise ValueError(
        f"{name} = {rows} rows must be at most bank_rows={config.bank_rows}"
      )
  if not (config.iterate or resets):
    raise ValueError(
      "iterate=False needs constant_resets or random_resets above 0"
    )
