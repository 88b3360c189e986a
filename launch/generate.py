r"""Writes on from a prompt, with the model that random_computation made.

python -m launch.run --experiment=random_computation
python -m launch.generate --prompt='(()[()]' --num_tokens=200
python -m launch.generate --workdir=runs/mine --temperature=0.7 --top_p=0.95

The model is one of bytes that was trained on random machines, never on
language: it goes on with the structure it finds in the prompt. Bytes that are
not UTF-8 are shown as the replacement character.
"""

import functools
import pathlib

from absl import app, flags

from launch import process, writing
from simplex.sampling import transforms

_WORKDIR = flags.DEFINE_string(
  "workdir", "runs/random_computation", "Of the run that made the model."
)
_PROMPT = flags.DEFINE_string("prompt", "\n", "What the text begins with.")
_NUM_TOKENS = flags.DEFINE_integer(
  "num_tokens", 256, "Bytes to write.", lower_bound=1
)
_TEMPERATURE = flags.DEFINE_float(
  "temperature", 1.0, "Logits are divided by it; 0 takes the likeliest byte."
)
_TOP_K = flags.DEFINE_integer("top_k", None, "Draw from the likeliest k alone.")
_TOP_P = flags.DEFINE_float(
  "top_p", None, "Draw from the fewest bytes that are this probable together."
)
_MIN_P = flags.DEFINE_float(
  "min_p", None, "Draw from bytes this probable, relative to the likeliest."
)
_STOP = flags.DEFINE_string("stop", "", "Bytes each of which ends the text.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the draws.")


def main(argv):
  if len(argv) > 1:
    raise app.UsageError(f"unexpected arguments: {argv[1:]}")
  process.prepare()
  prompt = _PROMPT.value.encode()
  try:
    if not prompt:
      raise ValueError("--prompt is empty: it takes a byte to go on from")
    options = _options()
    config, params = writing.load(pathlib.Path(_WORKDIR.value))
  except ValueError as error:
    raise app.UsageError(str(error)) from error
  show = functools.partial(print, end="", flush=True)
  writing.write(config, params, prompt, show, **options)
  print()


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
