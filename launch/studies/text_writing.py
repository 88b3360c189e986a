"""Many texts at once, by a model of Hugging Face that a proxy may protect."""

from collections.abc import Sequence
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from launch import writing
from simplex.models import transformer
from simplex.sampling import antidistillation, decode
from simplex.types import Array, Batch, Key, Params

WIDTH = 64  # prompts are padded to a multiple, to compile seldom


class Written(NamedTuple):
  """Texts after their prompts, and whether each was brought to an end."""

  texts: list[str]
  ended: np.ndarray


class Guard(NamedTuple):
  """A proxy, a direction in its parameters, and lambda."""

  proxy: Params
  direction: Params
  weight: Array


class Penalty(NamedTuple):
  """What is compiled of a penalty.

  Attributes:
    proxy: the model.
    epsilon: of finite differences; 0 is the exact derivative.
    shuffled: whether it is the control by permutation.
  """

  proxy: transformer.Config
  epsilon: float
  shuffled: bool


def write(
  author: writing.Author,
  prompts: Sequence[str],
  key: Key,
  *,
  num_tokens: int,
  batch_size: int,
  tau: float = 0.0,
  penalty: Penalty | None = None,
  guard: Guard | None = None,
) -> Written:
  """What the author goes on with after each prompt.

  Args:
    author: who writes.
    prompts: at least one.
    key: of the draws.
    num_tokens: to write, at most.
    batch_size: texts that are written together.
    tau: temperature; 0 is greedy.
    penalty: None is none.
    guard: what goes with the penalty.

  Raises:
    ValueError: a prompt has no token, or the model no place for the text.
  """
  tokens = [writing.prompt_tokens(author, p, num_tokens) for p in prompts]
  width = -(-max(map(len, tokens)) // WIDTH) * WIDTH
  # The last one is there for its width alone.
  prompt_NT, padding_N = decode.left_padded([*tokens, [0] * width])
  program = _Program(
    author.config,
    author.tokenizer.vocab_size,
    author.stop_tokens,
    num_tokens,
    penalty,
  )
  texts, ended = [], []
  for first in range(0, len(tokens), batch_size):
    rows = np.arange(first, first + batch_size) % len(tokens)  # the last, full
    out = _generate(
      program,
      author.params,
      guard,
      prompt_NT[rows],
      padding_N[rows],
      jax.random.fold_in(key, first),
      tau,
    )
    tokens_BT, length_B = np.asarray(out.tokens_BT), np.asarray(out.length_B)
    for row, n in zip(tokens_BT, length_B, strict=True):
      ended.append(row[n - 1] in author.stop_tokens)
      texts.append(author.tokenizer.decode(row[: n - ended[-1]].tolist()))
  return Written(texts[: len(tokens)], np.array(ended[: len(tokens)]))


class _Program(NamedTuple):
  """What is compiled, of all that `write` is given."""

  config: transformer.Config
  vocab_size: int
  stop_tokens: tuple[int, ...]
  num_tokens: int
  penalty: Penalty | None


@functools.partial(jax.jit, static_argnames="program")
def _generate(program, params, guard, prompt_BT, padding_B, key, tau):
  B, T = prompt_BT.shape
  caches = lambda config: transformer.Transformer(config).init_cache(
    B, T + program.num_tokens, padding_B
  )
  added = []
  if program.penalty is not None:
    proxy_caches = caches(program.penalty.proxy)
    scorer = _scorer(program, guard, proxy_caches, key)
    added = [antidistillation.penalize(scorer, guard.weight)]
  return decode.generate(
    functools.partial(_extend(program.config, program.vocab_size), params),
    caches(program.config),
    prompt_BT,
    key,
    num_tokens=program.num_tokens,
    temperature=tau,
    transforms=added,
    stop_tokens=program.stop_tokens,
  )


def _scorer(program, guard, caches, key):
  proxy, epsilon, shuffled = program.penalty
  make = antidistillation.exact
  if epsilon:
    make = functools.partial(antidistillation.central, epsilon=epsilon)
  extend = _extend(proxy, program.vocab_size)
  scorer = make(extend, guard.proxy, guard.direction, caches)
  if not shuffled:
    return scorer
  # No token is drawn with this key: there are fewer.
  shuffle_key = jax.random.fold_in(key, program.num_tokens)
  return antidistillation.permuted(scorer, shuffle_key)


def _extend(config, vocab_size):
  """Reads on; logits that stand for no token, as files have them, are cut."""

  def extend(params, tokens_BT, caches):
    logits_BTV, caches = transformer.Transformer(config).apply(
      params, tokens_BT, caches, method="extend"
    )
    return logits_BTV[..., :vocab_size], caches

  return extend


def examples(
  author: writing.Author,
  prompts: Sequence[str],
  written: Written,
  num_tokens: int,
) -> Batch:
  """Texts as what a model learns from, completions alone, `[N, T]`.

  A completion begins where the tokens of prompt and text part from those of the
  prompt, and has the author's first stop token if it was brought to an end.

  Args:
    author: who learns; has its own tokens.
    prompts: of the texts.
    written: the texts.
    num_tokens: T is this more than the longest prompt; the rest is cut.
  """
  encode = author.tokenizer.encode
  asked = [encode(prompt) for prompt in prompts]
  length = max(map(len, asked)) + num_tokens
  tokens_NS = np.zeros((len(asked), length + 1), np.int32)
  mask_NS = np.zeros(tokens_NS.shape, np.float32)
  rows = zip(asked, prompts, *written, strict=True)
  for i, (start, prompt, text, ended) in enumerate(rows):
    whole = encode(prompt + text) + list(author.stop_tokens[: int(ended)])
    whole = whole[: length + 1]
    same = [a == b for a, b in zip(start, whole, strict=False)]
    tokens_NS[i, : len(whole)] = whole
    mask_NS[i, (*same, False).index(False) : len(whole)] = 1
  return {
    "tokens": jnp.asarray(tokens_NS[:, :-1]),
    "targets": jnp.asarray(tokens_NS[:, 1:]),
    "mask": jnp.asarray(mask_NS[:, 1:]),
  }
