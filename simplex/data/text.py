"""Texts as arrays of tokens: parts, evaluation windows, training batches."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data import sources
from simplex.types import Batch, Key, Source


class Parts(NamedTuple):
  """Contiguous parts of one text, in their order in the text."""

  train: np.ndarray
  validation: np.ndarray
  test: np.ndarray


def split(
  bytes_N: np.ndarray,
  fractions: tuple[float, float, float] = (0.9, 0.05, 0.05),
) -> Parts:
  """Cuts a text into contiguous train, validation and test parts.

  Args:
    bytes_N: the text, bytes or other integers.
    fractions: the parts' shares, none negative, 1 in all. The default is the
      usual split of enwik8.

  Returns:
    Three parts; joined, they are the text.

  Raises:
    ValueError: `fractions` are not three shares of 1.
  """
  _check_text(bytes_N)
  shares = np.asarray(fractions, np.float64)
  if shares.shape != (3,) or (shares < 0).any() or abs(shares.sum() - 1) > 1e-6:
    raise ValueError(
      f"fractions={tuple(fractions)} must be three numbers, none below 0, "
      "that sum to 1"
    )
  ends = np.rint(np.cumsum(shares)[:2] * bytes_N.size).astype(int)
  return Parts(*np.split(bytes_N, ends))


def windows(bytes_N: np.ndarray, num_windows: int, length: int) -> np.ndarray:
  """Evenly spaced windows of a text, from its start to its end.

  Args:
    bytes_N: the text, bytes or other integers.
    num_windows: at least 1. They overlap where the text is short.
    length: T, bytes in a window, from 1 to the bytes in the text.

  Returns:
    Bytes of shape [num_windows, T].

  Raises:
    ValueError: a number is below 1, or the text is shorter than one window.
  """
  if num_windows < 1:
    raise ValueError(f"num_windows={num_windows} must be at least 1")
  _check_window(bytes_N, length)
  starts = np.linspace(0, bytes_N.size - length, num_windows).astype(int)
  return np.lib.stride_tricks.sliding_window_view(bytes_N, length)[starts]


def source(bytes_N: np.ndarray, batch_size: int, context: int) -> Source:
  """Endless batches of random windows of a text, each place equally likely.

  Args:
    bytes_N: the text, bytes or other integers; kept whole on the device.
    batch_size: B, at least 1.
    context: T, tokens that a model reads, at least 1.

  Returns:
    A source of batches `tokens` and `targets`, int32 of shape [B, T]; a
    target is the byte after its token.

  Raises:
    ValueError: a number is below 1, or the text has no `context + 1` bytes.
  """
  if context < 1:
    raise ValueError(f"context={context} must be at least 1")
  _check_window(bytes_N, context + 1)
  num_places = bytes_N.size - context
  text_N = jnp.asarray(bytes_N)

  def sample(key: Key) -> Batch:
    start = jax.random.randint(key, (), 0, num_places)
    window = jax.lax.dynamic_slice(text_N, (start,), (context + 1,))
    window = window.astype(jnp.int32)
    return {"tokens": window[:-1], "targets": window[1:]}

  return sources.from_sampler(sample, batch_size)


def _check_text(bytes_N: np.ndarray) -> None:
  chex.assert_rank(bytes_N, 1)
  chex.assert_type(bytes_N, int)


def _check_window(bytes_N: np.ndarray, length: int) -> None:
  _check_text(bytes_N)
  if length < 1:
    raise ValueError(f"length={length} must be at least 1")
  if bytes_N.size < length:
    raise ValueError(
      f"the text has {bytes_N.size} bytes and one window needs {length}: "
      "give a longer text, or ask for shorter windows"
    )
