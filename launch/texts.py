"""Bytes by name: texts that ship with Python, the user's, formal languages."""

from collections.abc import Mapping
import dataclasses
import pathlib

import numpy as np

from launch import endings
from simplex.data import formal, text
from trainers import corpora

BUNDLED = ("prose", "code", "bytecode")


@dataclasses.dataclass(frozen=True)
class Config:
  """Files or folders beside the bundled kinds, each a kind of its own."""

  paths: tuple[str, ...] = ()
  max_bytes: int = 4_000_000  # of each kind


def load(config: Config, shortest: int) -> dict[str, text.Parts]:
  """Reads every kind and cuts it in 80 % train, 10 % validation, 10 % test.

  Args:
    config: what to read.
    shortest: bytes that each part needs.

  Returns:
    Name to parts; a path goes by its last component.

  Raises:
    app.UsageError: a path cannot be read, has too few bytes or a taken name.
  """
  texts = {}
  with endings.usage_errors():
    for name in BUNDLED:
      texts[name] = _parts(corpora.bundled(name, config.max_bytes))
    for path in config.paths:
      name = pathlib.Path(path).name
      if name in texts:
        raise ValueError(f"two kinds of data are named {name!r}; rename one")
      texts[name] = _parts(corpora.read(path, config.max_bytes))
    for name, parts in texts.items():
      _check(name, parts, shortest)
  return texts


def windows(
  texts: Mapping[str, text.Parts], num_windows: int, length: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
  """Windows of every text and every formal language.

  Args:
    texts: name to parts.
    num_windows: of each set.
    length: tokens in a window.

  Returns:
    Name to test windows, `[num_windows, length]`, and name to others of the
    same law, on which predictors may be tuned.
  """
  cut = lambda part: text.windows(part, num_windows, length)
  test = {name: cut(parts.test) for name, parts in texts.items()}
  tuning = {name: cut(parts.train) for name, parts in texts.items()}
  for name in formal.SETS:
    test[name] = formal.windows(name, 0, num_windows, length)
    tuning[name] = formal.windows(name, 1, num_windows, length)
  return test, tuning


def _parts(data: bytes) -> text.Parts:
  return text.split(np.frombuffer(data, np.uint8), (0.8, 0.1, 0.1))


def _check(name: str, parts: text.Parts, shortest: int) -> None:
  if min(map(len, parts)) < shortest:
    raise ValueError(
      f"{name!r} has {sum(map(len, parts))} bytes, too few: its test part, a "
      f"tenth, must hold {shortest}; give a longer text or a shorter context"
    )
