"""Autoregressive decoding: the prompts and the loop, as one program.

    prompt_BT, padding_B = decode.left_padded(prompts)
    caches = model.init_cache(len(prompts), length, padding_B)
    extend = functools.partial(model.apply, params, method="extend")
    out = decode.generate(
      extend, caches, prompt_BT, key,
      num_tokens=100, temperature=0.8, transforms=[transforms.top_p(0.95)],
    )

To be called under `jit`.
"""

from collections.abc import Callable, Sequence
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from simplex.sampling import transforms as logit_transforms
from simplex.types import Array, Key


class Generated(NamedTuple):
  """What was drawn after each prompt.

  Attributes:
    tokens_BT: 0 after a stop token.
    log_probs_BT: of each token, by the logits as they came from the model,
      before temperature and transforms; 0 after a stop token.
    length_B: how many tokens there are, the stop token included.
  """

  tokens_BT: Array
  log_probs_BT: Array
  length_B: Array


class _Loop(NamedTuple):
  step: Array
  newest_B1: Array
  done_B: Array
  out: Generated
  caches: Any
  memories: tuple


def generate(
  extend_fn: Callable[[Array, Any], tuple[Array, Any]],
  caches: Any,
  prompt_BT: Array,
  key: Key,
  *,
  num_tokens: int,
  temperature: float | Array = 1.0,
  transforms: Sequence[logit_transforms.Transform] = (),
  stop_tokens: Sequence[int] = (),
) -> Generated:
  """Draws up to `num_tokens` tokens after each prompt.

  It ends early when every text has its stop token.

  Args:
    extend_fn: `(tokens_BT, caches) -> (logits_BTV, caches)`: the logits after
      each of the next T tokens, and what it needs to go on.
    caches: those of texts that have not begun; where prompts differ in length,
      they must know of the padding.
    prompt_BT: the prompts, each at least one token, padded on their left.
    key: one for the whole batch.
    num_tokens: at least 1.
    temperature: over which the logits are divided first; 0 is greedy.
    transforms: applied to them next, in this order.
    stop_tokens: a text ends with any of these.

  Raises:
    ValueError: there is no prompt or nothing to draw.
  """
  T = prompt_BT.shape[1]
  if T < 1 or num_tokens < 1:
    raise ValueError(
      f"prompts of {T} tokens, num_tokens={num_tokens}: both are at least 1"
    )
  transforms = (logit_transforms.temperature(temperature), *transforms)
  memories = tuple(transform.memory for transform in transforms)
  stop_N = jnp.asarray(stop_tokens, jnp.int32)
  advance = functools.partial(_advance, extend_fn, transforms, key, stop_N)
  start = _start(len(prompt_BT), num_tokens, caches, memories)
  return jax.lax.while_loop(
    lambda loop: (loop.step < num_tokens) & ~loop.done_B.all(),
    lambda loop: advance(loop, loop.newest_B1),
    advance(start, prompt_BT),
  ).out


def left_padded(prompts: Sequence[Sequence[int]]) -> tuple[Array, Array]:
  """Prompts as one array `[B, T]`, and how many zeros are on their left, `[B]`.

  Raises:
    ValueError: a prompt is empty, or there is none.
  """
  lengths = [len(prompt) for prompt in prompts]
  if min(lengths, default=0) < 1:
    raise ValueError(f"prompts of {lengths} tokens: each has at least 1")
  padding_B = max(lengths) - np.array(lengths, np.int32)
  rows = [
    np.pad(np.array(list(prompt), np.int32), (padding, 0))
    for prompt, padding in zip(prompts, padding_B, strict=True)
  ]
  return jnp.asarray(np.stack(rows)), jnp.asarray(padding_B)


def _start(B, num_tokens, caches, memories):
  return _Loop(
    step=jnp.zeros((), jnp.int32),
    newest_B1=jnp.zeros((B, 1), jnp.int32),
    done_B=jnp.zeros(B, bool),
    out=Generated(
      jnp.zeros((B, num_tokens), jnp.int32),
      jnp.zeros((B, num_tokens)),
      jnp.zeros(B, jnp.int32),
    ),
    caches=caches,
    memories=memories,
  )


def _advance(extend_fn, transforms, key, stop_N, loop, tokens_BT):
  """Reads what is new, and draws the next token of every text."""
  logits_BTV, caches = extend_fn(tokens_BT, loop.caches)
  logits_BV = logits_BTV[:, -1].astype(jnp.float32)
  chances_BV, memories = _transformed(
    transforms, logits_BV, tokens_BT, loop.memories
  )
  step_key = jax.random.fold_in(key, loop.step)
  token_B = jax.random.categorical(step_key, chances_BV).astype(jnp.int32)
  loop = loop._replace(caches=caches, memories=memories)
  loop = _add(loop, logits_BV, token_B)
  return loop._replace(done_B=loop.done_B | jnp.isin(token_B, stop_N))


def _transformed(transforms, logits_BV, tokens_BT, memories):
  after = []
  for transform, memory in zip(transforms, memories, strict=True):
    state = logit_transforms.State(tokens_BT, memory)
    logits_BV, state = transform.apply(logits_BV, state)
    after.append(state.memory)
  return logits_BV, tuple(after)


def _add(loop, logits_BV, token_B):
  """Writes a token of each text that is not at its end."""
  token_B = jnp.where(loop.done_B, 0, token_B)
  log_probs_BV = jax.nn.log_softmax(logits_BV)
  log_prob_B1 = jnp.take_along_axis(log_probs_BV, token_B[:, None], axis=-1)
  log_prob_B = jnp.where(loop.done_B, 0, log_prob_B1[:, 0])
  tokens_BT, log_probs_BT, length_B = loop.out
  return loop._replace(
    step=loop.step + 1,
    newest_B1=token_B[:, None],
    out=Generated(
      tokens_BT.at[:, loop.step].set(token_B),
      log_probs_BT.at[:, loop.step].set(log_prob_B),
      length_B + ~loop.done_B,
    ),
  )
