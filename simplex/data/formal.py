"""Formal languages on bytes: the synthetic evaluation sets of Bloem (2025).

Universal pre-training by iterated random computation, arXiv 2506.20057. Each
set follows the law of the author's generators, delimiters and probabilities
included.
"""

from collections.abc import Callable
import random

import numpy as np

Word = Callable[[random.Random], bytes]
String = Callable[[np.random.Generator, int], np.ndarray]

MIN_BYTES = 100_000  # of the string from which windows are cut, as published

# A capital letter is replaced by one of its lines, each as likely as another.
ENGLISH = {
  "S": ("S D", "N V", "N V P N", "N V ( P N )", "N V C S", "N V ( C S )"),
  "D": ("briefly", "quickly", "impatiently"),
  "N": ("a X", "the X", "a A X", "the A X"),
  "P": ("on", "with", "to"),
  "C": ("while", "but"),
  "X": ("mouse", "bunny", "cat", "dog", "man", "woman", "person"),
  "V": ("walked", "walks", "ran", "runs", "goes", "went"),
  "A": ("short", "quick", "busy", "nice", "gorgeous"),
}
ARITHMETIC = {
  "S": ("S + T", "S - T", "T", "T", "T"),
  "T": ("T * F", "T / F", "F", "F", "F"),
  "F": ("G ^ F", "G", "G", "G", "G"),
  "G": ("V", "V", "V", "V", "(S)"),
  "V": ("x", "y", "z"),
}
# For each state its edges, all equally likely: (next state, byte).
AUTOMATON = (
  ((0, 122), (1, 122), (2, 248), (3, 248), (4, 224)),
  ((1, 224), (3, 224)),
  ((3, 248),),
  ((4, 248),),
  ((0, 248), (2, 122), (3, 224)),
)


def champ(rng: random.Random) -> bytes:
  """256 successive integers in hexadecimal, after Champernowne's number."""
  start = rng.randrange(2**24 - 256)
  return "".join(f"{start + i:x}" for i in range(256)).encode()


def dyck(rng: random.Random) -> bytes:
  """Brackets up to the first return to depth 0; they open at 7/16."""
  word, depth = bytearray(b"("), 1
  while depth > 0:
    opens = rng.random() < 7 / 16
    word += b"(" if opens else b")"
    depth += 1 if opens else -1
  return bytes(word)


def ndfa(rng: random.Random) -> bytes:
  """One of three words, repeated a geometric number of times, between s."""
  word, count = rng.choice((b"abc!", b"uvw!", b"klm!")), 0
  while rng.random() >= 1 / 4:
    count += 1
  return b"s" + word * count + b"s"


def bits(rng: random.Random) -> bytes:
  """Two words of 5 bits, then xor, and, or, equality; true is written 0."""
  x = [rng.random() < 0.5 for _ in range(5)]
  y = [rng.random() < 0.5 for _ in range(5)]
  pairs = list(zip(x, y, strict=True))
  results = [a != b for a, b in pairs] + [a and b for a, b in pairs]
  results += [a or b for a, b in pairs] + [a == b for a, b in pairs]
  return bytes(b"10"[bit] for bit in x + y + results)


def bitsrep(rng: random.Random) -> bytes:
  """Three random bits, three times."""
  return bytes(rng.choices(b"01", k=3)) * 3


def bitsflip(rng: random.Random) -> bytes:
  """Six random bits, then the same in reverse."""
  word = bytes(rng.choices(b"01", k=6))
  return word + word[::-1]


def aut(rng: random.Random) -> bytes:
  """512 steps of a fixed automaton with five states and three bytes."""
  word, state = bytearray(), 0
  for _ in range(512):
    state, byte = rng.choice(AUTOMATON[state])
    word.append(byte)
  return bytes(word)


def toy(rng: random.Random) -> bytes:
  """A small English sentence."""
  return _expand("S", ENGLISH, rng).encode()


def toy2(rng: random.Random) -> bytes:
  """An arithmetic expression in x, y and z."""
  return _expand("S", ARITHMETIC, rng).encode()


def _expand(text: str, grammar: dict, rng: random.Random) -> str:
  return "".join(
    _expand(rng.choice(grammar[letter]), grammar, rng)
    if letter in grammar
    else letter
    for letter in text
  )


def _words(word: Word, delimiter: bytes) -> String:
  """A string of independent words, a delimiter before, between and after."""

  def string(rng, num_bytes):
    # For single draws `random` is several times as fast as NumPy.
    word_rng = random.Random(int(rng.integers(2**63)))
    text = bytearray(delimiter)
    while len(text) < num_bytes:
      text += word(word_rng) + delimiter
    return np.frombuffer(bytes(text[:num_bytes]), np.uint8)

  return string


def _repeats(num_tokens: int) -> String:
  """A string of `num_tokens` uniform bytes, repeated to its end."""

  def string(rng, num_bytes):
    tokens_K = rng.integers(256, size=num_tokens, dtype=np.uint8)
    return np.resize(tokens_K, num_bytes)

  return string


REPEATS = {
  "rep1": _repeats(1),
  "rep3": _repeats(3),
  "rep10": _repeats(10),
}
SETS = {
  "champ": _words(champ, b"|"),
  "dyck": _words(dyck, b"|"),
  "ndfa": _words(ndfa, b"|"),
  "toy": _words(toy, b"|"),
  "bits": _words(bits, b"|"),
  "bitsrep": _words(bitsrep, b""),
  "bitsflip": _words(bitsflip, b""),
  "aut": _words(aut, b""),
  "toy2": _words(toy2, b"|"),
  **REPEATS,
}


def windows(name: str, seed: int, num_windows: int, length: int) -> np.ndarray:
  """Evaluation windows of one set, the same for the same arguments.

  Each window of rep1, rep3 and rep10 has tokens of its own. The windows of
  every other set are cut from one string: one at a random place in each of
  `num_windows` equal stretches. Evenly spaced ones would always meet the
  sets of fixed period, such as bitsflip, in the same few phases.

  Args:
    name: a key of `SETS`.
    seed: seed of the string and of the places.
    num_windows: N, at least 1.
    length: T, at least 1.

  Returns:
    Bytes of shape [N, T].

  Raises:
    ValueError: the name is unknown, or a number is below 1.
  """
  if name not in SETS:
    raise ValueError(f"name={name!r} is not one of {list(SETS)}")
  if num_windows < 1 or length < 1:
    raise ValueError(f"{num_windows=} and {length=} must be at least 1")
  rng = np.random.default_rng(seed)
  if name in REPEATS:
    return np.stack([SETS[name](rng, length) for _ in range(num_windows)])
  num_bytes = max(MIN_BYTES, (num_windows + 1) * length)
  string = SETS[name](rng, num_bytes)
  stretch = (num_bytes - length) // num_windows
  starts_N = np.arange(num_windows) * stretch
  starts_N += rng.integers(stretch, size=num_windows)
  return np.lib.stride_tricks.sliding_window_view(string, length)[starts_N]
