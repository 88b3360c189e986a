"""A frozen language model, tuned by adapters: every arm, rate and seed."""

from collections.abc import Callable
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from simplex.adapters import adapter, dora, lora, singlora, targets
from simplex.analysis import compression
from simplex.losses import tokens
from simplex.models import projected, transformer
from simplex.types import Array, Batch, Key, Metrics, Params, Source
from trainers import optimizers, scan
from trainers.problem import Problem


@dataclasses.dataclass(frozen=True)
class Config:
  """How the adapters are made and trained.

  Attributes:
    patterns: of the matrices that are adapted.
    rank: of LoRA; alpha is the rank everywhere, so that the scale is 1.
    ramp: T of SingLoRA, as a share of the steps.
    plus_ratio: how much faster b learns than a in LoRA+; the rate is their
      geometric mean.
    dropout: share of an adapter's inputs that is hidden in training.
    rates: learning rates, each tried by all arms.
    num_steps: of every run.
    num_seeds: of every rate, the same ones for all arms.
    at_once: runs that a device trains together.
    optimizer: of all runs, but for its learning rate.
  """

  patterns: tuple[str, ...] = (r".*layer.*kernel",)
  rank: int = 4
  ramp: float = 0.01
  plus_ratio: float = 20.0
  dropout: float = 0.0
  rates: tuple[float, ...] = (1e-3, 2.5e-3, 6.3e-3, 1.6e-2, 4e-2, 1e-1)
  num_steps: int = 100
  num_seeds: int = 5
  at_once: int = 1
  optimizer: optimizers.Config = optimizers.Config(schedule="linear")


class Data(NamedTuple):
  """What to tune on; windows are `[N, T + 1]` of validation and of test."""

  source: Source
  validation: np.ndarray
  test: np.ndarray


class Runs(NamedTuple):
  """An arm's runs, `[rates, seeds]`, bits a token of held-out windows."""

  parameters: int
  rank: int
  validation: np.ndarray
  test: np.ndarray


class Arm(NamedTuple):
  """How an arm differs.

  Attributes:
    make: its adapter, of the targets.
    equal_parameters: whether its rank is that at which it has as many as LoRA;
      otherwise it is LoRA's.
    optimizer: None is that of the config.
    faster: whether b learns faster than a, as in LoRA+.
  """

  make: Callable[[Config, targets.Config], adapter.Adapter]
  equal_parameters: bool = False
  optimizer: str | None = None
  faster: bool = False


def _singlora(cfg: Config, config: targets.Config) -> adapter.Adapter:
  return singlora.singlora(config, cfg.num_steps, ramp=cfg.ramp)


def _trapped(cfg: Config, config: targets.Config) -> adapter.Adapter:
  """SingLoRA that starts as if the rank were the fan-in, not n."""
  inner = _singlora(cfg, config)

  def init(key, base):
    larger = lambda a: a * (a.shape[-2] / a.shape[-1]) ** 0.5
    return jax.tree.map(larger, inner.init(key, base))

  return inner._replace(init=init)


def _lora(cfg: Config, config: targets.Config) -> adapter.Adapter:
  del cfg
  return lora.lora(config)


def _full(cfg: Config, config: targets.Config) -> adapter.Adapter:
  """All parameters, which stand for themselves."""
  del cfg, config
  return adapter.Adapter(
    init=lambda key, base: base,
    merge=lambda base, tree, step: tree,
    factors=lambda base, tree, step: {},
  )


ARMS = {
  "lora": Arm(_lora),
  "lora_plus": Arm(_lora, faster=True),
  "dora": Arm(lambda cfg, config: dora.dora(_lora(cfg, config))),
  "singlora": Arm(_singlora, equal_parameters=True),
  "singlora_rank": Arm(_singlora),
  "singlora_row_adam": Arm(
    _singlora, equal_parameters=True, optimizer="row_adam"
  ),
  "singlora_trap": Arm(_trapped, equal_parameters=True),
  "full": Arm(_full),
}


def make(cfg: Config, arm: str, base: Params) -> adapter.Adapter:
  """The adapter of an arm."""
  return ARMS[arm].make(cfg, _targets(cfg, rank(cfg, arm, base)))


def rank(cfg: Config, arm: str, base: Params) -> int:
  """The rank of an arm, rounded to the nearest."""
  if not ARMS[arm].equal_parameters:
    return cfg.rank
  pair, one = (
    _count(make(cfg, _targets(cfg, 1)), base)
    for make in (_lora, ARMS[arm].make)
  )
  return round(cfg.rank * pair / one)


def problem(
  cfg: Config,
  net: transformer.Transformer,
  base: Params,
  one: adapter.Adapter,
  source: Source,
) -> Problem:
  """Next-token prediction by a frozen model; what is trained is the adapter.

  A batch may have a mask of the targets that count.
  """

  def loss(tree, batch: Batch, *, key: Key, step: Array):
    # The number of this update, from 1: at 0 SingLoRA has no gradient.
    step = step + 1
    asked = batch["targets"], batch.get("mask")
    changes = one.factors(base, tree, step)
    if not changes:
      logits_BTV = net.apply(one.merge(base, tree, step), batch["tokens"])
      return tokens.next_token(logits_BTV, *asked)
    logits_BTV = projected.apply(
      net,
      base,
      batch["tokens"],
      project=functools.partial(_project, cfg.dropout),
      changes=_with_keys(changes, key if cfg.dropout else None),
    )
    return tokens.next_token(logits_BTV, *asked)

  return Problem(lambda key: one.init(key, base), loss, source)


def bits(
  net: transformer.Transformer, params: Params, windows_NS: np.ndarray
) -> Array:
  """Mean bits of a token, a scalar."""
  logits_fn = functools.partial(net.apply, params)
  return compression.bits(logits_fn, windows_NS).mean()


def sweep(
  cfg: Config,
  arm: str,
  net: transformer.Transformer,
  base: Params,
  data: Data,
  seed: int,
) -> Runs:
  """Trains an arm at every rate, with every seed."""
  rates_N = np.repeat(np.float32(cfg.rates), cfg.num_seeds)
  keys = jax.random.split(jax.random.key(seed), cfg.num_seeds)
  keys_N = jnp.tile(keys, len(cfg.rates))
  windows_NS = np.concatenate((data.validation, data.test))
  first = len(data.validation)

  def run(setting, base):
    one, tree = _fit(cfg, arm, net, base, data.source, *setting)
    tuned = one.merge(base, tree, cfg.num_steps)
    bits_N = compression.bits(functools.partial(net.apply, tuned), windows_NS)
    parts = bits_N[:first].mean(), bits_N[first:].mean()
    return dict(zip(("validation", "test"), parts, strict=True))

  found = scan.sweep(run, (rates_N, keys_N), base, at_once=cfg.at_once)
  shape = (len(cfg.rates), cfg.num_seeds)
  found = {name: x.reshape(shape) for name, x in found.items()}
  count = _count(make(cfg, arm, base), base)
  return Runs(count, rank(cfg, arm, base), **found)


def changes(
  cfg: Config,
  net: transformer.Transformer,
  base: Params,
  data: Data,
  rate: float,
  seed: int,
  measure: Callable[[Params], Metrics],
) -> Metrics:
  """What is measured of the changes that full fine-tuning makes, by seed.

  Args:
    cfg: of the runs.
    net: the model.
    base: its parameters.
    data: to tune on.
    rate: of learning.
    seed: as for `sweep`.
    measure: of a tree as `base`, tuned less base.
  """
  keys = jax.random.split(jax.random.key(seed), cfg.num_seeds)

  def run(key, base):
    _, tuned = _fit(cfg, "full", net, base, data.source, rate, key)
    return measure(jax.tree.map(jnp.subtract, tuned, base))

  return scan.sweep(run, keys, base, at_once=cfg.at_once)


def best(runs: Runs) -> int:
  """The index of the rate with the best mean on the validation windows."""
  means = np.nan_to_num(runs.validation.mean(1), nan=np.inf)
  return int(np.argmin(means))


def _fit(cfg, arm, net, base, source, rate, key):
  one = make(cfg, arm, base)
  _, _, name, faster = ARMS[arm]
  config = dataclasses.replace(
    cfg.optimizer, name=name or cfg.optimizer.name, learning_rate=rate
  )
  tx = optimizers.make(config, cfg.num_steps)
  if faster:
    half = cfg.plus_ratio**0.5
    labels = {"slow": optax.scale(1 / half), "fast": optax.scale(half)}
    tx = optax.chain(tx, optax.partition(labels, lora.plus_labels))
  fitted = problem(cfg, net, base, one, source)
  state, _, _ = scan.fit(fitted, tx, key, cfg.num_steps)
  return one, state.params


def _targets(cfg, rank):
  return targets.Config(cfg.patterns, rank, float(rank))


def _count(one, base):
  return adapter.count(jax.eval_shape(one.init, jax.random.key(0), base))


def _project(dropout, x, kernel, change):
  factors, key = change
  return adapter.project(x, kernel, factors, dropout=dropout, key=key)


def _with_keys(changes, key):
  """The changes, each with a key of its own, or of each of its layers."""
  if key is None:
    return {path: (f, None) for path, f in changes.items()}
  keys = jax.random.split(key, len(changes))
  return {
    path: (f, jax.random.split(key, f.left.shape[:-2]))
    for key, (path, f) in zip(keys, changes.items(), strict=True)
  }
