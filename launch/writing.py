"""The model that a run of random_computation made, going on from a prompt."""

import codecs
from collections.abc import Callable, Sequence
import functools
import pathlib

import jax
import numpy as np

from launch import overrides
from launch.experiments import random_computation
from simplex.models import transformer
from simplex.sampling import decode, transforms
from simplex.types import Array, Params
from trainers import checkpoints, files, optimizers, step

BYTES = 256


def load(workdir: pathlib.Path) -> tuple[random_computation.Config, Params]:
  """The config and the pre-trained parameters of a run.

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
  return config, state.params


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
  if config.model.vocab_size != BYTES:
    raise ValueError(
      f"model.vocab_size={config.model.vocab_size} in {path} is not {BYTES}: "
      "the model is not one of bytes"
    )
  return config


def write(
  config: random_computation.Config,
  params: Params,
  prompt: bytes,
  show: Callable[[str], None],
  *,
  seed: int = 0,
  cuts: Sequence[transforms.Transform] = (),
  **options,
) -> bytes:
  """Shows the prompt and, as it comes, what follows it; returns the latter.

  A byte looks back on as many as were in a training window.

  Args:
    config: of the run.
    params: of its model.
    prompt: at least one byte.
    show: is given pieces of text, UTF-8 where they are.
    seed: of the draws.
    cuts: transforms of the logits.
    **options: of `decode.generate`.
  """
  model = transformer.Transformer(config.model)
  caches = model.init_cache(1, config.context)
  utf8 = codecs.getincrementaldecoder("utf-8")("replace")
  shown = []

  def see(tokens_BT):
    new = bytes(np.asarray(tokens_BT[0]).tolist())
    shown.append(len(new))
    show(utf8.decode(new))

  @jax.jit
  def run(params, prompt_BT):
    return decode.generate(
      functools.partial(model.apply, params, method="extend"),
      caches,
      prompt_BT,
      jax.random.key(seed),
      transforms=[*cuts, _streamed(see)],
      **options,
    )

  prompt_BT, _ = decode.left_padded([prompt])
  out = jax.block_until_ready(run(params, prompt_BT))
  jax.effects_barrier()
  written = bytes(np.asarray(out.tokens_BT[0, : int(out.length_B[0])]).tolist())
  show(utf8.decode(written[sum(shown) - len(prompt) :], final=True))
  return written


def _streamed(see: Callable[[Array], None]) -> transforms.Transform:
  """Leaves the logits alone, and shows the host what the model has read."""

  def apply(logits_BV, state):
    jax.debug.callback(see, state.tokens_BT, ordered=True)
    return logits_BV, state

  return transforms.Transform(apply)
