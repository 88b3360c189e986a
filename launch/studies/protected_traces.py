"""What students learn from traces that a teacher protects, cell by cell.

A lane is a teacher with one proxy, one student and one seed; a cell is a way to
sample. Ways differ in numbers alone, so that one program runs them all.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import distillation
from simplex.data import running_sums
from simplex.losses import tokens
from simplex.models import transformer
from simplex.sampling import antidistillation, directions, fingerprint
from simplex.sampling.transforms import Transform
from simplex.types import Array, Batch, Key, Metrics, Params
from trainers import optimizers, progress, scan


class Cell(NamedTuple):
  """One way to sample traces and to learn from them, or arrays of many.

  Attributes:
    tau: temperature.
    nats: of the penalty along the gradient, its 99th percentile.
    random_nats: of that along a random direction.
    shuffled_nats: of that whose tokens are shuffled.
    product: share of the proxy in a product of experts.
    green: weight of the fingerprint.
    beta: with which the student weighs traces; 0 is all alike.
    learns: 0 is a student that does not.
  """

  tau: float | Array = 1.0
  nats: float | Array = 0.0
  random_nats: float | Array = 0.0
  shuffled_nats: float | Array = 0.0
  product: float | Array = 0.0
  green: float | Array = 0.0
  beta: float | Array = 0.0
  learns: float | Array = 1.0


class Lane(NamedTuple):
  """The models of a seed, and its cells, stacked."""

  teacher: Params
  proxy: Params
  student: Params
  key: Key
  cells: Cell


class Result(NamedTuple):
  """Of a cell.

  Attributes:
    teacher: accuracy of the traces.
    student: of the student's greedy answers to unseen questions.
    losses: of training, each step.
    held_out: loss of clean held-out traces, each evaluation.
    green: share of green tokens that the student writes, for the secret key and
      then for others.
    traces: the first few.
  """

  teacher: distillation.Accuracy
  student: distillation.Accuracy
  losses: Array
  held_out: Array
  green: Array
  traces: Array


class Sizes(NamedTuple):
  """What a lane is run with; see the experiment's `Config`."""

  data: running_sums.Config
  teacher: transformer.Config
  proxy: transformer.Config
  student: transformer.Config
  optimizer: optimizers.Config
  traces: int
  held_out: int
  test: int
  attacker_traces: int
  epochs: int
  batch_size: int
  evals: int
  other_keys: int


class Direction(NamedTuple):
  """Directions of length 1, and the lambda of one nat along each."""

  direction: Params
  weight: Array


def sweep(
  sizes: Sizes,
  arms: Mapping[str, Sequence[Cell]],
  teachers: Params,
  proxies: Params,
  students: Params,
  key: Key,
) -> dict[str, Result]:
  """Results by arm, `[regimes, seeds, cells, ...]`.

  Args:
    sizes: of all lanes.
    arms: the cells of each.
    teachers: stacked, one of each regime.
    proxies: stacked, one of each seed; likewise the students.
    students: that are distilled.
    key: of all draws, the same ones in each regime.
  """
  rows = [cell for some in arms.values() for cell in some]
  stacked = jax.tree.map(lambda *xs: np.array(xs, np.float32), *rows)
  regimes, seeds = (
    len(jax.tree.leaves(params)[0]) for params in (teachers, proxies)
  )
  progress.show(f"{len(rows)} samplers, {regimes} x {seeds} lanes")
  each = lambda tree: jax.tree.map(lambda x: np.repeat(x, seeds, 0), tree)
  again = lambda tree: jax.tree.map(
    lambda x: np.concatenate([x] * regimes), tree
  )
  keys = jax.random.split(key, seeds)
  lanes = Lane(
    each(teachers),
    again(proxies),
    again(students),
    jnp.concatenate([keys] * regimes),
    jax.tree.map(lambda x: np.stack([x] * regimes * seeds), stacked),
  )
  results = jax.tree.map(
    lambda x: x.reshape(regimes, seeds, *x.shape[1:]),
    scan.sweep(functools.partial(run, sizes), lanes),
  )
  found, first = {}, 0
  for arm, some in arms.items():
    part = slice(first, first + len(some))
    found[arm] = jax.tree.map(lambda x, part=part: x[:, :, part], results)
    first += len(some)
  return found


def run(sizes: Sizes, lane: Lane) -> Result:
  """All cells, stacked."""
  keys = dict(zip(KEYS, jax.random.split(lane.key, len(KEYS)), strict=True))
  counts = sizes.held_out, sizes.attacker_traces, sizes.traces, sizes.test
  parts = _parts(clean(sizes, keys["questions"], sum(counts)), counts)
  held_out, attacker, asked, test = parts
  prompts = lambda batch: batch["tokens"][:, : sizes.data.prompt_length]
  setting = _Setting(
    lane,
    keys,
    held_out,
    attacker,
    penalties(sizes, lane.proxy, held_out, keys["random"]),
    prompts(asked),
    prompts(test),
  )
  return jax.lax.map(functools.partial(_cell, sizes, setting), lane.cells)


KEYS = "questions random draw order green shuffle write".split()


def _parts(batch: Batch, counts: tuple[int, ...]) -> list[Batch]:
  """A batch cut into as many."""
  ends = list(itertools.accumulate(counts))
  cut = lambda start, end: jax.tree.map(lambda x: x[start:end], batch)
  return [cut(*ends) for ends in zip([0, *ends], ends, strict=False)]


class _Setting(NamedTuple):
  lane: Lane
  keys: dict[str, Key]
  held_out: Batch
  attacker: Batch
  along: Direction
  prompt_BT: Array
  test_BT: Array


def clean(sizes: Sizes, key: Key, count: int) -> Batch:
  """Right traces, which are what a teacher writes greedily."""
  sampler = running_sums.sampler(sizes.data)
  return jax.vmap(sampler)(jax.random.split(key, count))


def total_loss(
  model: transformer.Config, params: Params, batch: Batch
) -> tuple[Array, Array]:
  """Loss summed over the tokens of completions, and their number."""
  logits_BTV = transformer.Transformer(model).apply(params, batch["tokens"])
  nll_BT = tokens.nll(logits_BTV, batch["targets"]) * batch["mask"]
  return nll_BT.sum(), batch["mask"].sum()


def gradient(
  model: transformer.Config, params: Params, examples: Batch
) -> Params:
  """Of the mean loss of completions."""
  one = jax.tree.map(lambda x: x[None], examples)
  total_fn = functools.partial(total_loss, model)
  return directions.mean_gradient(total_fn, params, one)[1]


def log_probs(model: transformer.Config, tokens_BT: Array):
  """`params -> log_probs_BTV`."""
  net = transformer.Transformer(model)
  return lambda params: jax.nn.log_softmax(net.apply(params, tokens_BT))


def differences(
  sizes: Sizes,
  key: Key,
  epsilons_N: Array,
  dtypes: Sequence[str],
  proxy: Params,
) -> dict[str, Array]:
  """|sin| of finite differences to the exact derivative, `[N]`, by dtype."""
  held_out = clean(sizes, key, sizes.held_out)
  few_BT = held_out["tokens"][:32]
  g = directions.normalized(gradient(sizes.proxy, proxy, held_out))
  _, exact = directions.derivative(log_probs(sizes.proxy, few_BT), proxy, g)
  errors = {}
  for dtype in dtypes:
    model = dataclasses.replace(sizes.proxy, dtype=dtype)
    errors[dtype] = directions.calibrate(
      exact,
      log_probs(model, few_BT),
      jax.tree.map(lambda x, d=dtype: x.astype(d), proxy),
      g,
      epsilons_N,
    ).errors_N
  return errors


def penalties(
  sizes: Sizes, proxy: Params, held_out: Batch, key: Key
) -> Direction:
  """The gradient of the proxy, and a random direction, stacked, in nats."""
  g = directions.normalized(gradient(sizes.proxy, proxy, held_out))
  fn = log_probs(sizes.proxy, held_out["tokens"])

  def weight(direction):
    _, delta_BTV = directions.derivative(fn, proxy, direction)
    return directions.weight_of_nats(
      1.0, delta_BTV, mask_N=held_out["mask"] > 0
    )

  both = jax.tree.map(
    lambda *xs: jnp.stack(xs), g, directions.random_like(key, g)
  )
  return Direction(both, jax.vmap(weight)(both))


def protection(
  sizes: Sizes,
  proxy: Params,
  along: Direction,
  cell: Cell,
  keys: dict[str, Key],
  batch_size: int,
) -> Transform:
  """What a cell adds to the teacher's logits after the temperature.

  Scores are linear in the direction: both directions cost one pass.
  """
  nats = jnp.stack([cell.nats + cell.shuffled_nats, cell.random_nats])
  direction = jax.tree.map(
    lambda x: jnp.tensordot(nats * along.weight, x, axes=1), along.direction
  )
  net = transformer.Transformer(sizes.proxy)
  scorer = antidistillation.exact(
    functools.partial(net.apply, method="extend"),
    proxy,
    direction,
    distillation.empty_caches(sizes.data, sizes.proxy, batch_size),
  )

  def apply(logits_BV, state):
    step, memory = state.memory
    scores, memory = scorer.next(state.tokens_BT, memory)
    key = jax.random.fold_in(keys["shuffle"], step)
    mixed_BV = antidistillation.shuffled(key, scores.delta_BV)
    is_mixed = cell.shuffled_nats != 0
    delta_BV = jnp.where(is_mixed, mixed_BV, scores.delta_BV)
    product_BV = antidistillation.product_of_experts(logits_BV, scores)
    green_BV = fingerprint.gradient(
      jnp.exp(scores.log_probs_BV), state.tokens_BT[:, -1], keys["green"]
    )
    logits_BV += delta_BV + cell.product * product_BV + cell.green * green_BV
    return logits_BV, state._replace(memory=(step + 1, memory))

  return Transform(apply, (jnp.zeros((), jnp.int32), scorer.memory))


def _cell(sizes: Sizes, setting: _Setting, cell: Cell) -> Result:
  lane, keys = setting.lane, setting.keys
  written_BT = distillation.write(
    sizes.data,
    sizes.teacher,
    lane.teacher,
    setting.prompt_BT,
    keys["draw"],
    temperature=cell.tau,
    transforms=[
      protection(
        sizes, lane.proxy, setting.along, cell, keys, len(setting.prompt_BT)
      )
    ],
  )
  examples = distillation.traces(sizes.data, setting.prompt_BT, written_BT)
  weights_B = attacker_weights(sizes, lane.student, setting.attacker, examples)
  examples["mask"] *= cell.learns * weights_B(cell.beta)[:, None]
  student, metrics, evals = _distilled(sizes, setting, examples)
  greedy_BT, drawn_BT = distillation.greedy_and_drawn(
    sizes.data, sizes.student, student, setting.test_BT, keys["write"]
  )
  return Result(
    distillation.accuracy(
      sizes.data, sizes.teacher, lane.teacher, setting.prompt_BT, written_BT
    ),
    distillation.accuracy(
      sizes.data, sizes.student, student, setting.test_BT, greedy_BT
    ),
    metrics["loss"],
    evals["held_out/loss"],
    _green(sizes, setting, drawn_BT),
    written_BT[:3],
  )


def attacker_weights(
  sizes: Sizes, student: Params, known: Batch, examples: Batch
):
  """`beta -> weights` of a student that knows a few clean traces."""

  def trace_log_probs(params):
    logits_BTV = transformer.Transformer(sizes.student).apply(
      params, examples["tokens"]
    )
    nll_BT = tokens.nll(logits_BTV, examples["targets"])
    return -jnp.sum(nll_BT * examples["mask"], axis=1)

  harm_B = antidistillation.harm(
    trace_log_probs, student, gradient(sizes.student, student, known)
  )
  return functools.partial(antidistillation.attacker_weights, harm_B)


def _distilled(sizes, setting, examples) -> tuple[Params, Metrics, Metrics]:
  def held_out(params, key):
    del key
    total, count = total_loss(sizes.student, params, setting.held_out)
    return {"loss": total / count}

  num_steps = sizes.epochs * (sizes.traces // sizes.batch_size)
  return distillation.distil(
    sizes.data,
    sizes.student,
    setting.lane.student,
    examples,
    optimizers.make(sizes.optimizer, num_steps),
    setting.keys["order"],
    epochs=sizes.epochs,
    batch_size=sizes.batch_size,
    evals={"held_out": held_out},
    eval_every=num_steps // sizes.evals,
  )


def _green(sizes, setting, written_BT) -> Array:
  """What the secret key, and then keys that were not used, find."""
  texts_BT = jnp.concatenate([setting.test_BT, written_BT], axis=1)
  counts_BT = jnp.broadcast_to(
    jnp.arange(texts_BT.shape[1]) >= sizes.data.prompt_length, texts_BT.shape
  )
  secret = setting.keys["green"]
  others = jax.random.split(jax.random.fold_in(secret, 1), sizes.other_keys)
  keys = jnp.concatenate([secret[None], others])
  share = lambda key: fingerprint.green_share(
    texts_BT, counts_BT, key, sizes.data.vocab_size
  )
  return jax.lax.map(share, keys)
