"""Students that learn from the reasoning of a teacher, in one program each.

A teacher writes traces with some sampler, a student is fine-tuned on them, and
both are asked unseen questions. All of it is traced by JAX.
"""

from collections.abc import Callable
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from simplex.data import running_sums, sources
from simplex.losses import tokens
from simplex.models import transformer
from simplex.sampling import decode
from simplex.types import Array, Batch, Key, Metrics, Params, Source
from trainers import scan, step as steps
from trainers.problem import Problem


class Accuracy(NamedTuple):
  """Shares of questions, and of steps of reasoning, that are right.

  Attributes:
    raw: the answer as it was written.
    forced: the answer as written, or else as the model gives it, greedily and
      by itself, when it is made to answer after its reasoning.
    steps: of the reasoning.
  """

  raw: Array
  forced: Array
  steps: Array


def problem(
  data: running_sums.Config,
  model: transformer.Config,
  source: Source,
  init: Callable[[Key], Params] | None = None,
  evals: dict | None = None,
) -> Problem:
  """Completions of questions; a batch may have weights of its traces."""
  net = transformer.Transformer(model)
  length = data.prompt_length + data.completion_length - 1

  def loss(params, batch, *, key, step):
    del key, step
    logits_BTV = net.apply(params, batch["tokens"])
    loss, metrics = tokens.next_token(
      logits_BTV, batch["targets"], batch["mask"]
    )
    return loss, metrics

  fresh = lambda key: net.init(key, jnp.zeros((1, length), jnp.int32))
  return Problem(init or fresh, loss, source, evals or {})


def questions(data: running_sums.Config, key: Key, count: int) -> Array:
  """`[count, n + 1]`."""
  draw = functools.partial(running_sums.prompt, data)
  return jax.vmap(draw)(jax.random.split(key, count))


def train_until(
  problem: Problem,
  tx: optax.GradientTransformation,
  key: Key,
  *,
  every: int,
  most: int,
  enough: Callable[[Metrics], Array],
) -> tuple[Params, Array]:
  """Trains until its evals are enough, which they are asked `every` so often.

  A task that is learned at once, after long, cannot be stopped half way by a
  number of steps.

  Returns:
    The parameters and the number of steps, at most `most`.
  """

  def chunk(state):
    fn = lambda state, _: (steps.train_step(problem, tx, state)[0], None)
    return jax.lax.scan(fn, state, length=every)[0]

  state = jax.lax.while_loop(
    lambda state: (state.step < most) & ~enough(steps.evaluate(problem, state)),
    chunk,
    steps.init_state(problem, tx, key),
  )
  return state.params, state.step


def all_right(
  model: transformer.Config, examples: Batch, params: Params
) -> Metrics:
  """The share of completions that are greedily written without an error."""
  logits_BTV = transformer.Transformer(model).apply(params, examples["tokens"])
  hit_BT = jnp.argmax(logits_BTV, axis=-1) == examples["targets"]
  return {"share": jnp.mean((hit_BT | (examples["mask"] == 0)).all(axis=1))}


def write(
  data: running_sums.Config,
  model: transformer.Config,
  params: Params,
  prompt_BT: Array,
  key: Key,
  **options,
) -> Array:
  """Completions `[B, n + 2]` of questions; options as of `decode.generate`."""
  net = transformer.Transformer(model)
  extend = functools.partial(net.apply, params, method="extend")
  caches = empty_caches(data, model, len(prompt_BT))
  return decode.generate(
    extend,
    caches,
    prompt_BT,
    key,
    num_tokens=data.completion_length,
    **options,
  ).tokens_BT


def empty_caches(
  data: running_sums.Config, model: transformer.Config, batch_size: int
) -> transformer.Caches:
  """Caches for whole texts."""
  length = data.prompt_length + data.completion_length
  return transformer.Transformer(model).init_cache(batch_size, length)


def accuracy(
  data: running_sums.Config,
  model: transformer.Config,
  params: Params,
  prompt_BT: Array,
  written_BT: Array,
) -> Accuracy:
  """How right completions are; the model answers where it is made to."""
  right_BT = jax.vmap(functools.partial(running_sums.completion, data))(
    prompt_BT
  )
  raw_B = (written_BT[:, -2:] == right_BT[:, -2:]).all(axis=-1)
  until_BT = jnp.concatenate(
    [prompt_BT, written_BT[:, : data.length], right_BT[:, -2:-1]], axis=1
  )
  logits_BTV = transformer.Transformer(model).apply(params, until_BT)
  forced_B = jnp.argmax(logits_BTV[:, -1], axis=-1) == right_BT[:, -1]
  same_BN = (written_BT == right_BT)[:, : data.length]
  return Accuracy(raw_B.mean(), (raw_B | forced_B).mean(), same_BN.mean())


def greedy_and_drawn(
  data: running_sums.Config,
  model: transformer.Config,
  params: Params,
  prompt_BT: Array,
  key: Key,
) -> tuple[Array, Array]:
  """Completions at temperatures 0 and 1."""
  tau_B = jnp.repeat(jnp.arange(2.0), len(prompt_BT))
  both_BT = jnp.concatenate([prompt_BT, prompt_BT])
  written_BT = write(
    data, model, params, both_BT, key, temperature=tau_B[:, None]
  )
  return tuple(jnp.split(written_BT, 2))


def traces(
  data: running_sums.Config, prompt_BT: Array, written_BT: Array
) -> Batch:
  """Whole texts as examples, `[B, ...]`."""
  texts_BT = jnp.concatenate([prompt_BT, written_BT], axis=1)
  return jax.vmap(functools.partial(running_sums.example, config=data))(
    texts_BT
  )


def distil(
  data: running_sums.Config,
  model: transformer.Config,
  base: Params,
  examples: Batch,
  tx: optax.GradientTransformation,
  key: Key,
  *,
  epochs: int,
  batch_size: int,
  evals: dict | None = None,
  eval_every: int | None = None,
) -> tuple[Params, Metrics, Metrics]:
  """Fine-tunes a student on examples, whose order is another in each epoch.

  Returns:
    Parameters, metrics of every step, and evals.
  """
  N = len(examples["tokens"])
  order_NB = orders(key, N, epochs=epochs, batch_size=batch_size)
  source = drawn(examples, order_NB)
  fitted = problem(data, model, source, lambda key: base, evals)
  state, metrics, evals = scan.fit(
    fitted, tx, key, len(order_NB), eval_every=eval_every
  )
  return state.params, metrics, evals


def orders(key: Key, count: int, *, epochs: int, batch_size: int) -> Array:
  """Which of `count` examples are in each batch, `[batches, batch_size]`."""
  order_EN = jax.vmap(lambda key: jax.random.permutation(key, count))(
    jax.random.split(key, epochs)
  )
  whole = count // batch_size * batch_size
  return order_EN[:, :whole].reshape(-1, batch_size)


def drawn(examples: Batch, order_NB: Array) -> Source:
  """Batches of examples, in the order that `orders` gives."""
  source = sources.from_batches({"index": order_NB})

  def next_batch(state):
    batch, state = source.next(state)
    return jax.tree.map(lambda x: x[batch["index"]], dict(examples)), state

  return Source(source.init, next_batch)
