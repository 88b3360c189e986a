r"""Writes on from a prompt, with a model made here or from Hugging Face.

python -m launch.run --experiment=random_computation
python -m launch.generate --prompt='(()[()]' --num_tokens=200
python -m launch.generate --workdir=runs/mine --temperature=0.7 --top_p=0.95
python -m launch.generate --model=my_llama/ --prompt='Once' --dtype=bfloat16

The model of a run of random_computation is one of bytes that was trained on
random machines, never on language: it goes on with the structure it finds in
the prompt. Bytes that are not UTF-8 are shown as the replacement character.

A folder of Hugging Face has config.json, model.safetensors or its index, and
tokenizer.json; the text ends at the model's own end-of-text tokens.
"""

import functools
import pathlib

from absl import app, flags

from launch import process, writing
from simplex.models import transformer
from simplex.sampling import transforms

_WORKDIR = flags.DEFINE_string(
  "workdir", "runs/random_computation", "Of the run that made the model."
)
_MODEL = flags.DEFINE_string(
  "model", None, "A folder of Hugging Face, in place of --workdir."
)
_DTYPE = flags.DEFINE_enum(
  "dtype", "float32", transformer.DTYPES, "That --model computes in."
)
_PROMPT = flags.DEFINE_string("prompt", "\n", "What the text begins with.")
_NUM_TOKENS = flags.DEFINE_integer(
  "num_tokens", 256, "Bytes or tokens to write, at most.", lower_bound=1
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature", 1.0, "Logits are divided by it; 0 takes the likeliest token."
)
_TOP_K = flags.DEFINE_integer("top_k", None, "Draw from the likeliest k alone.")
_TOP_P = flags.DEFINE_float(
  "top_p", None, "Draw from the fewest tokens that are this probable together."
)
_MIN_P = flags.DEFINE_float(
  "min_p", None, "Draw from tokens this probable, relative to the likeliest."
)
_STOP = flags.DEFINE_string(
  "stop", "", "Bytes each of which ends the text; not with --model."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the draws.")


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  process.prepare()
  try:
    options = _options()
    author = _author()
    prompt = writing.prompt_tokens(author, _PROMPT.value, _NUM_TOKENS.value)
  except (ValueError, ModuleNotFoundError) as error:
    raise app.UsageError(str(error)) from error
  show = functools.partial(print, end="", flush=True)
  writing.write(author, prompt, show, **options)
  print()


def _author():
  """Who the flags ask for."""
  if _MODEL.value is None:
    if _DTYPE.present:
      raise ValueError("--dtype goes with --model alone")
    return writing.of_run(pathlib.Path(_WORKDIR.value))
  for flag in (_WORKDIR, _STOP):
    if flag.present:
      raise ValueError(f"--{flag.name} and --model do not go together")
  return writing.of_folder(pathlib.Path(_MODEL.value), _DTYPE.value)


def _options():
  """What the flags ask of `writing.write`."""
  transforms.temperature(_TEMPERATURE.value)  # or says why
  cuts = {
    transforms.top_k: _TOP_K.value,
    transforms.top_p: _TOP_P.value,
    transforms.min_p: _MIN_P.value,
  }
  return dict(
    seed=_SEED.value,
    num_tokens=_NUM_TOKENS.value,
    temperature=_TEMPERATURE.value,
    cuts=[cut(value) for cut, value in cuts.items() if value is not None],
    stop_tokens=tuple(_STOP.value.encode()),
  )


if __name__ == "__main__":
  app.run(main)
