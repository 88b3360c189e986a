"""Small models of sequence tasks: what is trained, and what is followed."""

from collections.abc import Callable
import dataclasses
import functools

import jax
import jax.numpy as jnp

from simplex.analysis import plateau
from simplex.data import sources
from simplex.data.sequences import (
  addition,
  copying,
  histogram,
  moving_sum,
  permutation,
  prefix_sum,
  task as tasks,
)
from simplex.losses import tokens
from simplex.models import gpt
from simplex.types import Array, Metrics, Params
from trainers import optimizers
from trainers.problem import Problem

KINDS = {
  moving_sum.Config: moving_sum.task,
  prefix_sum.Config: prefix_sum.task,
  addition.Config: addition.task,
  permutation.Config: permutation.task,
  histogram.Config: histogram.task,
  copying.Config: copying.task,
}
Data = (
  moving_sum.Config
  | prefix_sum.Config
  | addition.Config
  | permutation.Config
  | histogram.Config
  | copying.Config
)


def optimizer(name: str, learning_rate: float) -> optimizers.Config:
  return optimizers.Config(
    name, learning_rate, schedule="constant", clip_norm=0.0
  )


ADAM = optimizer("adamw", 1e-3)  # weight decay is 0
# Parameters by part, which can be taken from a trained model and frozen.
_READ = ("embed", "positions", "attention_norm", "query", "key")
PARTS = {
  "": (),
  "KQ": _READ,
  "KQOV": (*_READ, "value", "out"),
  "MLP": ("up", "down", "feed_forward_norm", "norm", "head"),
  "Emb": ("embed", "positions", "norm", "head"),
}


@dataclasses.dataclass(frozen=True)
class Training:
  """A task, a model and how it is trained.

  Attributes:
    data: the task.
    num_steps: updates.
    num_layers: of the model.
    attention: "linear" or "softmax".
    gain: factor of the attention at its optimal keys, in training and tests;
      rows that copy are left alone.
    frozen: a key of `PARTS`, which stay as a trained model of `base` has them.
    init_scale: factor of the initial weights.
    answers_only: whether the loss leaves out the prompt.
    optimizer: and its learning rate.
  """

  data: Data = moving_sum.Config(length=8)
  num_steps: int = 500
  num_layers: int = 1
  attention: str = "linear"
  gain: float = 1.0
  frozen: str = ""
  init_scale: float = 1.0
  answers_only: bool = False
  optimizer: optimizers.Config = ADAM

  def __post_init__(self):
    if self.frozen not in PARTS:
      raise ValueError(f"frozen={self.frozen!r} is not one of {sorted(PARTS)}")


def problem(
  training: Training,
  *,
  width: int,
  batch_size: int,
  test_examples: int,
  optimum: Params = None,
) -> Problem:
  """A sequence task for a small GPT.

  Args:
    training: what is trained.
    width: E of the model.
    batch_size: fresh examples in a step.
    test_examples: in a test.
    optimum: parameters of a trained model, for the parts that are frozen.
  """
  task = KINDS[type(training.data)](training.data)
  net = gpt.GPT(
    gpt.Config(
      vocab_size=task.vocab_size,
      length=task.length,
      width=width,
      num_layers=training.num_layers,
      attention=training.attention,
      init_std=0.02 * training.init_scale,
    )
  )
  apply = functools.partial(net.apply, gain_TS=gain_map(task, training.gain))
  names = PARTS[training.frozen]

  def init(key):
    params = net.init(key, jnp.zeros((1, task.length), jnp.int32))
    return _where(names, lambda _, best: best, params, optimum)

  def loss(params, batch, *, key=None, step=None):
    del key, step
    params = _where(names, lambda x, _: jax.lax.stop_gradient(x), params)
    logits_BTV = apply(params, batch["tokens"])
    mask_BT = batch["mask"] if training.answers_only else None
    return tokens.next_token(logits_BTV, batch["targets"], mask_BT)

  source = sources.from_sampler(tasks.sampler(task), batch_size)
  test = functools.partial(_test, task, apply, test_examples)
  return Problem(init, loss, source, {"test": test})


def gain_map(task: tasks.Task, gain: float) -> Array | None:
  """Factors of the attention map, `[S, S]`; None where they are 1."""
  if gain == 1.0:
    return None
  S = task.length
  map_MS = task.optimal(jnp.zeros(S + 1, jnp.int32))[0]
  rows_M = jnp.zeros(task.answer_length, bool).at[task.compared].set(True)
  gain_MS = jnp.where(map_MS & rows_M[:, None], gain, 1.0)
  return jnp.ones((S, S)).at[task.prompt_length - 1 :].set(gain_MS)


def _where(names, fn: Callable, params: Params, *others: Params) -> Params:
  """Applies `fn` to the leaves under any of these names."""
  if not names:
    return params

  def leaf(path, x, *xs):
    inside = any(getattr(part, "key", None) in names for part in path)
    return fn(x, *xs, *[None] * (not xs)) if inside else x

  return jax.tree.map_with_path(leaf, params, *others)


def _test(task: tasks.Task, apply, examples: int, params, key) -> Metrics:
  """All that is followed, on unseen examples.

  Losses, attention and hidden states are those of the true answer; accuracy and
  repetition are those of the answer that the model itself continues.
  """
  sequence_BT = jax.vmap(task.sample)(jax.random.split(key, examples))
  sequence_BT = sequence_BT.astype(jnp.int32)
  first = task.prompt_length - 1
  logits_BSV, sown = apply(
    params, sequence_BT[:, :-1], mutable=["intermediates"]
  )
  sown = sown["intermediates"]
  nll_BS = tokens.nll(logits_BSV, sequence_BT[:, 1:])
  hidden_BME = sown["hidden"][0][:, first:]
  answer_BM = generate(functools.partial(apply, params), sequence_BT, task)
  true_BM = sequence_BT[:, first + 1 :]
  optimal_BLMS = jax.vmap(task.optimal)(sequence_BT)
  layers = [sown[f"layer_{i}"] for i in range(len(optimal_BLMS[0]))]
  progress_L = [
    plateau.attention_progress(
      jnp.abs(layer["attention"][0]).sum(1)[:, first:], optimal_BLMS[:, i]
    )
    for i, layer in enumerate(layers)
  ]
  return {
    "loss": nll_BS.mean(),
    "answer_loss": nll_BS[:, first:].mean(),
    "accuracy": (answer_BM == true_BM).mean(0),
    "repetition": plateau.repetition(answer_BM),
    "true_repetition": plateau.repetition(true_BM),
    "entropy": plateau.sequence_entropy(answer_BM, task.vocab_size),
    "cosine": plateau.mean_cosine(hidden_BME[:, task.compared]),
    "progress": jnp.mean(jnp.stack(progress_L)),
  }


def generate(logits_fn, sequence_BT: Array, task: tasks.Task) -> Array:
  """The likeliest answer, token by token, `[B, M]`.

  Args:
    logits_fn: `tokens_BS -> logits_BSV`, causal.
    sequence_BT: prompts; what follows them is not looked at.
    task: its lengths.
  """
  P = task.prompt_length

  def step(t, tokens_BT):
    logits_BSV = logits_fn(tokens_BT[:, :-1])
    return tokens_BT.at[:, t].set(logits_BSV[:, t - 1].argmax(-1))

  tokens_BT = sequence_BT.at[:, P:].set(0)
  return jax.lax.fori_loop(P, tokens_BT.shape[1], step, tokens_BT)[:, P:]
