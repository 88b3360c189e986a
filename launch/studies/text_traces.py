"""What students learn from texts that a teacher protects, cell by cell.

As `protected_traces`, with models of Hugging Face, which read questions and
write answers; the student is fine-tuned by LoRA on the text alone.
"""

from collections.abc import Mapping, Sequence
import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from launch.findings import antidistillation_runs as runs
from launch.studies import (
  distillation,
  protected_traces,
  text_folders,
  text_writing,
  tuned_models,
)
from launch.studies.protected_traces import Cell, Result, Sizes
from simplex.adapters import lora
from simplex.models import transformer
from simplex.sampling import directions
from simplex.types import Array, Batch, Key, Params
from trainers import optimizers, progress, questions, scan

SHOWN = 3
# The paper's, and a random direction.
ARMS = "before temperature antidistillation random permutation".split()


def run(
  cfg: text_folders.Config,
  loaded: text_folders.Loaded,
  sizes: Sizes,
  arms: Mapping[str, Sequence[Cell]],
  key: Key,
  num_seeds: int,
) -> dict[str, Result]:
  """Every cell of every arm and seed, `[1, seeds, cells, ...]` each.

  Args:
    cfg: how they are used.
    loaded: the models and the questions.
    sizes: of which the optimiser, the counts and the batch are used.
    arms: cells that differ in tau, nats of any kind, and whether one learns.
    key: of draws, directions, adapters and orders.
    num_seeds: of these.
  """
  study = _study(cfg, loaded, sizes)
  lanes = []
  for seed, seed_key in enumerate(jax.random.split(key, num_seeds)):
    progress.show(f"seed {seed + 1} of {num_seeds}")
    lane = _lane(study, seed_key)
    lanes.append({arm: [lane(c) for c in cells] for arm, cells in arms.items()})
  stack = lambda *rows: jax.tree.map(lambda *xs: np.stack(xs), *rows)
  return {
    arm: jax.tree.map(
      lambda x: x[None], stack(*(stack(*lane[arm]) for lane in lanes))
    )
    for arm in arms
  }


class _Study(NamedTuple):
  """What all seeds share."""

  cfg: text_folders.Config
  sizes: Sizes
  loaded: text_folders.Loaded
  held_out: Batch  # as the student reads it, in parts
  scored: Batch  # as the proxy reads it, in parts
  gradient: Params


def _study(cfg, loaded, sizes) -> _Study:
  progress.show(f"{len(loaded.held_out)} held-out traces")
  prompts = [cfg.prompt(question) for question in loaded.held_out]
  clean = _write(cfg, loaded.teacher, prompts, jax.random.key(0))
  parts = functools.partial(
    _parts, size=max(sizes.batch_size // cfg.accumulate, 1)
  )
  read = lambda author: parts(
    text_writing.examples(author, prompts, clean, cfg.max_tokens)
  )
  proxy, scored = loaded.proxy, read(loaded.proxy)
  g = _gradient(_trained(proxy.config), proxy.params, scored)
  held_out = read(loaded.student)
  return _Study(cfg, sizes, loaded, held_out, scored, g)


def _parts(examples: Batch, size: int) -> Batch:
  """`[N, ...]` as `[parts, size, ...]`, filled up with what does not count."""
  more = -len(examples["mask"]) % size
  fill = lambda x: jnp.pad(x, ((0, more), (0, 0))).reshape(-1, size, x.shape[1])
  return jax.tree.map(fill, examples)


def _trained(config: transformer.Config) -> transformer.Config:
  """The model as gradients need it: layers are computed again."""
  return dataclasses.replace(config, remat="full")


@functools.partial(jax.jit, static_argnums=0)
def _gradient(config, params, batches):
  """Of the mean loss, in the dtype of the parameters."""
  total_fn = functools.partial(protected_traces.total_loss, config)
  _, g = directions.mean_gradient(total_fn, params, batches)
  return jax.tree.map(lambda x, p: x.astype(p.dtype), g, params)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _weight(config, vocab_size, epsilon, params, direction, batch) -> Array:
  """The lambda of one nat, of the mean size of Delta over texts."""
  net = transformer.Transformer(config)

  def inverse(row):
    def fn(params):
      logits_BTV = net.apply(params, row["tokens"][None])
      return jax.nn.log_softmax(logits_BTV[..., :vocab_size])

    if epsilon:
      delta_BTV = directions.difference(fn, params, direction, epsilon)
    else:
      _, delta_BTV = directions.derivative(fn, params, direction)
    mask_BT = row["mask"][None] > 0
    return 1 / directions.weight_of_nats(1.0, delta_BTV, mask_N=mask_BT)

  return 1 / jnp.nanmean(jax.lax.map(inverse, batch))


def _lane(study: _Study, key: Key):
  """`cell -> result` of a seed."""
  cfg, teacher = study.cfg, study.loaded.teacher
  draw_key, random_key, fit_key = jax.random.split(key, 3)
  guards = {
    "gradient": _guard(study, study.gradient),
    "random": _guard(study, directions.random_like(random_key, study.gradient)),
  }
  prompts = [cfg.prompt(question) for question in study.loaded.asked]

  @functools.cache
  def traces(cell):
    written = _write(
      cfg, teacher, prompts, draw_key, cell.tau, *_penalty(study, guards, cell)
    )
    return written, _accuracy(cfg, teacher, study.loaded.asked, written)

  def result(cell):
    progress.show(runs.setting(cell._asdict()))
    # Whoever learns, the traces are the same.
    written, accuracy = traces(cell._replace(learns=1.0))
    student, losses, held_out = _student(study, prompts, written, cell, fit_key)
    answers = _write(
      cfg,
      student,
      [cfg.prompt(question) for question in study.loaded.test],
      draw_key,
    )
    return Result(
      accuracy,
      _accuracy(cfg, student, study.loaded.test, answers),
      losses,
      held_out,
      None,
      np.array(written.texts[:SHOWN]),
    )

  return result


def _guard(study, direction) -> text_writing.Guard:
  proxy, words = study.loaded.proxy, study.loaded.teacher.tokenizer
  weight = _weight(
    proxy.config,
    words.vocab_size,
    study.cfg.epsilon,
    proxy.params,
    direction,
    jax.tree.map(lambda x: x[0], study.scored),
  )
  return text_writing.Guard(proxy.params, direction, weight)


def _penalty(study, guards, cell):
  """What protects the texts of a cell: nothing, or a penalty and its guard."""
  kind = "random" if cell.random_nats else "gradient"
  nats = cell.nats + cell.random_nats + cell.shuffled_nats
  if not nats:
    return None, None
  guard = guards[kind]
  penalty = text_writing.Penalty(
    study.loaded.proxy.config, study.cfg.epsilon, bool(cell.shuffled_nats)
  )
  return penalty, guard._replace(weight=nats * guard.weight)


def _write(cfg, author, prompts, key, tau=0.0, penalty=None, guard=None):
  return text_writing.write(
    author,
    prompts,
    key,
    num_tokens=cfg.max_tokens,
    batch_size=cfg.at_once,
    tau=tau,
    penalty=penalty,
    guard=guard,
  )


def _accuracy(cfg, author, asked, written) -> distillation.Accuracy:
  """Exact matches of final answers, as written and as forced."""
  forced = text_writing.write(
    author,
    [
      cfg.prompt(question) + text + cfg.force
      for question, text in zip(asked, written.texts, strict=True)
    ],
    jax.random.key(0),  # greedy
    num_tokens=cfg.answer_tokens,
    batch_size=cfg.at_once,
  )
  answers = [question.answer for question in asked]
  right = lambda texts: np.array(
    [
      questions.final_answer(text) == answer
      for text, answer in zip(texts, answers, strict=True)
    ]
  )
  raw = right(written.texts)
  either = raw | right([cfg.force + text for text in forced.texts])
  # What a step of reasoning is, and which are right, is not known.
  return distillation.Accuracy(raw.mean(), either.mean(), np.float64("nan"))


def _student(study, prompts, written, cell, key):
  """The student, its training losses, and held-out losses meanwhile."""
  cfg, sizes, student = study.cfg, study.sizes, study.loaded.student
  examples = text_writing.examples(student, prompts, written, cfg.max_tokens)
  if not cell.learns:
    examples["mask"] *= 0
  params, losses, held_out = _distilled(
    cfg, sizes, student.config, student.params, examples, study.held_out, key
  )
  return student._replace(params=params), *jax.device_get((losses, held_out))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _distilled(cfg, sizes, config, base, examples, held_out, key):
  order_key, fit_key = jax.random.split(key)
  order_NB = distillation.orders(
    order_key,
    sizes.traces,
    epochs=sizes.epochs,
    batch_size=sizes.batch_size,
  )
  one, model = lora.lora(cfg.adapter), _trained(config)
  fitted = tuned_models.problem(
    tuned_models.Config(),
    transformer.Transformer(model),
    base,
    one,
    distillation.drawn(examples, order_NB),
  )

  def loss(tree, key):
    del key
    params = one.merge(base, tree, 0)
    total_fn = functools.partial(protected_traces.total_loss, model, params)
    totals, counts = jax.lax.map(total_fn, held_out)
    return {"loss": totals.sum() / counts.sum()}

  num_steps = len(order_NB)
  state, metrics, evals = scan.fit(
    fitted._replace(evals={"held_out": loss}),
    optimizers.make(sizes.optimizer, num_steps),
    fit_key,
    num_steps,
    eval_every=num_steps // sizes.evals,
    accumulate=cfg.accumulate,
  )
  params = one.merge(base, state.params, num_steps)
  return params, metrics["loss"], evals["held_out/loss"]
