"""Questions with worked answers: lines of JSON, as those of GSM8K.

{"question": "How much is 3 + 4?", "answer": "3 + 4 = 7\n#### 7"}
"""

import decimal
import json
import os
import pathlib
import re
from typing import NamedTuple

_FINAL = re.compile(r"####([^\n]*)|\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


class Question(NamedTuple):
  """A question and its final answer, as of `final_answer`."""

  text: str
  answer: str


def load(path: str | os.PathLike) -> list[Question]:
  """The questions of a file.

  Raises:
    ValueError: there is no such file, or a line is not a question with a final
      answer; names the line and what it needs.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise ValueError(f"there are no questions in {path}: it does not exist")
  lines = path.read_text(encoding="utf-8").splitlines()
  return [
    _question(f"{path}, line {i}", line)
    for i, line in enumerate(lines, 1)
    if line.strip()
  ]


def final_answer(text: str) -> str | None:
  r"""What stands last in a text after "####" or in "\boxed{}"; None if nothing.

  Numbers are written alike: "$1,200.0" is "1200".
  """
  found = [a or b for a, b in _FINAL.findall(text)]
  answer = re.sub(r"[\s$,]", "", found[-1]).rstrip(".") if found else ""
  try:
    number = decimal.Decimal(answer)
  except decimal.InvalidOperation:
    return answer or None
  return f"{number.normalize():f}" if number.is_finite() else answer


def _question(where, line):
  try:
    fields = json.loads(line)
  except json.JSONDecodeError as error:
    raise ValueError(f"{where} is not JSON: {error}") from error
  texts = fields if isinstance(fields, dict) else {}
  question, answer = texts.get("question"), texts.get("answer")
  if not isinstance(question, str) or not isinstance(answer, str):
    raise ValueError(f"{where} needs texts 'question' and 'answer': {line}")
  final = final_answer(answer)
  if final is None:
    raise ValueError(f"{where}: no final answer is after #### in {answer!r}")
  return Question(question, final)
