"""Models that go on from a prompt: of a run here, or from Hugging Face."""

from collections.abc import Callable, Sequence
import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np

from launch import hugging_face, overrides
from launch.experiments import random_computation
from simplex.interop import families
from simplex.models import transformer
from simplex.sampling import decode, transforms
from simplex.types import Array, Params
from trainers import checkpoints, files, optimizers, pretrained, step, tokenizer

BYTES = tokenizer.Tokenizer(
  encode=lambda text: list(text.encode()),
  decode=lambda tokens: bytes(tokens).decode("utf-8", "replace"),
  vocab_size=256,
)
GENERATION_CONFIG = "generation_config.json"


class Author(NamedTuple):
  """A model that writes.

  Attributes:
    config: of the model.
    params: of the model.
    tokenizer: what its tokens stand for.
    context: how many tokens it looks back on; None is all.
    stop_tokens: each of them ends a text.
  """

  config: transformer.Config
  params: Params
  tokenizer: tokenizer.Tokenizer
  context: int | None = None
  stop_tokens: tuple[int, ...] = ()


def of_run(workdir: pathlib.Path) -> Author:
  """The pre-trained model of a run of random_computation.

  A byte looks back on as many as were in a training window.

  Raises:
    ValueError: there is no such run, or no checkpoint of it; says what was
      looked for.
  """
  config = _config(workdir / "config.json")
  problem = random_computation.problem(config)
  optimizer = optimizers.make(config.optimizer, config.pretrain.num_steps)
  init = functools.partial(step.init_state, problem, optimizer)
  shapes = jax.eval_shape(init, jax.random.key(0))
  state = checkpoints.load(workdir / "pretrain" / "pretrained", shapes)
  return Author(config.model, state.params, BYTES, config.context)


def of_folder(
  folder: pathlib.Path, dtype: str = "float32", **changes: Any
) -> Author:
  """A model in the files of Hugging Face, with its tokenizer.

  Args:
    folder: see `hugging_face.load` and `tokenizer.load`; the tokens that end a
      text are those of `generation_config.json`, or else of `config.json`.
    dtype: of parameters and activations.
    **changes: of the config's fields, as of `hugging_face.load`.

  Raises:
    ValueError: something is missing, unknown or damaged; says what.
    ModuleNotFoundError: a package is missing; how to get it.
  """
  settings = pretrained.read_settings(folder)
  if (folder / GENERATION_CONFIG).is_file():
    settings |= pretrained.read_settings(folder, GENERATION_CONFIG)
  words = tokenizer.load(folder)
  config, params = hugging_face.load(folder, dtype=dtype, **changes)
  if words.vocab_size > config.vocab_size:
    raise ValueError(
      f"{folder / tokenizer.NAME} has {words.vocab_size} tokens, more than "
      f"vocab_size={config.vocab_size} of the model"
    )
  config = dataclasses.replace(config, dtype=dtype)
  stop_tokens = families.stop_tokens(settings)
  return Author(config, params, words, stop_tokens=stop_tokens)


def prompt_tokens(author: Author, prompt: str, num_tokens: int) -> list[int]:
  """The tokens of a prompt.

  Raises:
    ValueError: there are none, or no place for `num_tokens` more.
  """
  tokens = author.tokenizer.encode(prompt)
  if not tokens:
    raise ValueError(f"{prompt=} has no token: it takes one to go on from")
  most = author.config.num_positions
  if most is not None and len(tokens) + num_tokens > most:
    raise ValueError(
      f"a prompt of {len(tokens)} tokens and {num_tokens=} are more than the "
      f"{most} positions of the model"
    )
  return tokens


def write(
  author: Author,
  prompt: Sequence[int],
  show: Callable[[str], None],
  *,
  num_tokens: int,
  seed: int = 0,
  cuts: Sequence[transforms.Transform] = (),
  stop_tokens: Sequence[int] = (),
  temperature: float = 1.0,
) -> list[int]:
  """Shows the prompt and, as it comes, what follows it; returns the latter.

  Args:
    author: who writes.
    prompt: at least one token.
    show: is given pieces of text, without characters that are not yet whole.
    num_tokens: to write, at most.
    seed: of the draws.
    cuts: transforms of the logits.
    stop_tokens: beside those of the author.
    temperature: see `decode.generate`.
  """
  model = transformer.Transformer(author.config)
  length = author.context or len(prompt) + num_tokens
  seen = []
  tell = _teller(author.tokenizer, show)

  def see(tokens_BT):
    seen.extend(np.asarray(tokens_BT[0]).tolist())
    tell(seen)

  @jax.jit
  def run(params, prompt_BT):
    return decode.generate(
      functools.partial(model.apply, params, method="extend"),
      model.init_cache(1, length),
      prompt_BT,
      jax.random.key(seed),
      num_tokens=num_tokens,
      temperature=temperature,
      transforms=[*cuts, _streamed(see)],
      stop_tokens=(*author.stop_tokens, *stop_tokens),
    )

  prompt_BT, _ = decode.left_padded([prompt])
  out = jax.block_until_ready(run(author.params, prompt_BT))
  jax.effects_barrier()
  written = np.asarray(out.tokens_BT[0, : int(out.length_B[0])]).tolist()
  tell([*prompt, *written], final=True)
  return written


def _config(path):
  if not path.is_file():
    raise ValueError(
      f"there is no run in {path.parent}: {path} does not exist\nMake one: "
      "python -m launch.run --experiment=random_computation "
      f"--workdir={path.parent}"
    )
  try:
    config = overrides.restore(
      random_computation.Config(), files.read_json(path)
    )
  except ValueError as error:
    raise ValueError(
      f"{path} is not the config of a run of random_computation: {error}"
    ) from error
  if config.model.vocab_size != BYTES.vocab_size:
    raise ValueError(
      f"model.vocab_size={config.model.vocab_size} in {path} is not "
      f"{BYTES.vocab_size}: the model is not one of bytes"
    )
  return config


def _teller(words, show):
  """Shows what a text has that it did not have at the last call."""
  shown = [0]

  def tell(tokens, *, final=False):
    text = words.decode(tokens)
    if final or not text.endswith("\N{REPLACEMENT CHARACTER}"):
      show(text[shown[0] :])
      shown[0] = len(text)

  return tell


def _streamed(see: Callable[[Array], None]) -> transforms.Transform:
  """Leaves the logits alone, and shows the host what the model has read."""

  def apply(logits_BV, state):
    jax.debug.callback(see, state.tokens_BT, ordered=True)
    return logits_BV, state

  return transforms.Transform(apply)
