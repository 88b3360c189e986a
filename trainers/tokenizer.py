"""Text as tokens, by a `tokenizer.json`."""

from collections.abc import Callable, Sequence
import os
import pathlib
from typing import NamedTuple

from trainers import files

NAME = "tokenizer.json"


class Tokenizer(NamedTuple):
  """Text as tokens and back.

  Attributes:
    encode: the tokens of a text, with those that begin every text.
    decode: the text of tokens, without those that stand for none; U+FFFD is
      for what is not yet a character.
    vocab_size: tokens are below it.
  """

  encode: Callable[[str], list[int]]
  decode: Callable[[Sequence[int]], str]
  vocab_size: int


def load(folder: str | os.PathLike) -> Tokenizer:
  """The tokenizer of a folder of Hugging Face.

  Raises:
    ValueError: there is none, or the file is not one.
    ModuleNotFoundError: the package `tokenizers` is missing; how to get it.
  """
  path = pathlib.Path(folder) / NAME
  if not path.is_file():
    raise ValueError(
      f"there is no tokenizer in {folder}: {path} does not exist. With "
      f"transformers, AutoTokenizer.from_pretrained(...).save_pretrained"
      f"({str(folder)!r}) makes it of other files"
    )
  settings = files.read_json(path)
  if not isinstance(settings, dict) or "model" not in settings:
    raise ValueError(f"{path} is no tokenizer: it has no 'model'")
  try:
    import tokenizers
  except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
      "the package tokenizers is not installed, which reads "
      f"{NAME}: pip install 'simplex[hf]', or -e '.[hf]' in a checkout"
    ) from error
  found = tokenizers.Tokenizer.from_file(str(path))
  return Tokenizer(
    lambda text: found.encode(text).ids,
    lambda tokens: found.decode(list(tokens), skip_special_tokens=True),
    found.get_vocab_size(),
  )
