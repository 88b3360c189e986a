"""A teacher, its proxy, a student and questions, from local files."""

import dataclasses
import os
import pathlib
from typing import NamedTuple

from launch import writing
from launch.studies import protected_traces
from simplex.adapters import targets
from trainers import files, questions, tokenizer
from trainers.questions import Question

MODELS = ("teacher", "proxy", "student")
FILES = ("questions", "test")
REMEDY = """Name others with --set=folders.teacher=..., or put them there:
  hf download OWNER/NAME --local-dir=FOLDER
The paper's teacher is deepseek-ai/DeepSeek-R1-Distill-Qwen-7B, its proxy
Qwen/Qwen2.5-3B and its student meta-llama/Llama-3.2-3B. Its questions, GSM8K,
are train.jsonl and test.jsonl of github.com/openai/grade-school-math, in
grade_school_math/data."""


@dataclasses.dataclass(frozen=True)
class Config:
  r"""Where everything lies, and how it is used; without paths, there is none.

  Attributes:
    teacher: a folder of Hugging Face; likewise the proxy, which shares the
      teacher's vocabulary, and the student, which need not.
    questions: a file of `trainers.questions`: from its first ones a student
      learns, its last ones are held out.
    test: a file of unseen questions.
    template: of a prompt.
    force: what makes a model answer, after its own reasoning: "####" or
      "\boxed{", and what leads there.
    max_tokens: of a trace.
    answer_tokens: of an answer that was forced.
    at_once: texts that are written together; the logits of all their prompts
      are in memory.
    accumulate: parts of a student's batch, to spare memory.
    epsilon: of finite differences along the gradient, which is as long as it
      is; 0 takes the exact derivative.
    dtype: of all parameters and activations.
    adapter: LoRA of the student.
  """

  teacher: str = ""
  proxy: str = ""
  student: str = ""
  questions: str = ""
  test: str = ""
  template: str = "Question: {question}\nAnswer:"
  force: str = "\n#### "
  max_tokens: int = 256
  answer_tokens: int = 16
  at_once: int = 32
  accumulate: int = 1
  epsilon: float = 0.0
  dtype: str = "float32"
  adapter: targets.Config = targets.Config((r".*layer.*kernel",))

  def __post_init__(self):
    missing = [name for name in MODELS + FILES if not getattr(self, name)]
    if self.given and missing:
      raise ValueError(
        f"folders has no {', '.join(missing)}: it takes all of "
        f"{', '.join(MODELS + FILES)}, or none of them for the toy"
      )
    if "{question}" not in self.template:
      raise ValueError(f"template={self.template!r} has no {{question}}")

  @property
  def given(self) -> bool:
    """Whether there are any."""
    return any(getattr(self, name) for name in MODELS + FILES)

  @property
  def subject(self) -> str:
    """Who does what, a sentence."""
    return (
      f"A teacher ({self.teacher}) reasons aloud about {self.questions}, "
      f"guarded by a proxy ({self.proxy}); a student ({self.student}) is "
      "fine-tuned on what it writes."
    )

  def prompt(self, question: Question) -> str:
    """What a model goes on from."""
    return self.template.replace("{question}", question.text)


class Loaded(NamedTuple):
  """What the paths of a config lead to.

  Attributes:
    teacher: a model and its tokenizer; likewise the proxy and the student.
    asked: questions that the student learns from.
    held_out: others.
    test: unseen ones.
  """

  teacher: writing.Author
  proxy: writing.Author
  student: writing.Author
  asked: list[Question]
  held_out: list[Question]
  test: list[Question]


def load(cfg: Config, sizes: protected_traces.Sizes) -> Loaded:
  """Reads all of it, what is small first.

  Args:
    cfg: the paths.
    sizes: how many of the first questions the student learns from, of the last
      ones are held out, and of the others are unseen.

  Raises:
    ValueError: something is missing, damaged, or does not go together; says
      what, and how to get what is missing.
  """
  check(cfg)
  _check_vocabularies(cfg.teacher, cfg.proxy)
  needed = sizes.traces + sizes.held_out
  known = _questions(cfg.questions, needed, "traces and held_out")
  unseen = _questions(cfg.test, sizes.test, "test")
  read = lambda folder, **changes: writing.of_folder(
    pathlib.Path(folder), cfg.dtype, scan_layers=True, **changes
  )
  # What a kernel does by hand has no forward-mode derivative.
  forward = {} if cfg.epsilon else {"implementation": "reference"}
  teacher, proxy = read(cfg.teacher), read(cfg.proxy, **forward)
  if proxy.config.vocab_size < teacher.tokenizer.vocab_size:
    raise ValueError(
      f"{cfg.proxy} scores {proxy.config.vocab_size} tokens, and {cfg.teacher} "
      f"writes {teacher.tokenizer.vocab_size}"
    )
  return Loaded(
    teacher,
    proxy,
    read(cfg.student),
    known[: sizes.traces],
    known[-sizes.held_out :],
    unseen[: sizes.test],
  )


def check(cfg: Config) -> None:
  """Raises a ValueError that says which paths lead nowhere, and the remedy."""
  lost = [
    f"  folders.{name}={getattr(cfg, name)}: {what}"
    for names, what in (
      (MODELS, "a folder with config.json, *.safetensors and tokenizer.json"),
      (FILES, 'lines of {"question": ..., "answer": "... #### 42"}'),
    )
    for name in names
    if not os.path.exists(getattr(cfg, name))
  ]
  if lost:
    raise ValueError("these do not exist:\n" + "\n".join(lost) + "\n" + REMEDY)


def _questions(path, needed, names):
  found = questions.load(path)
  if len(found) < needed:
    raise ValueError(
      f"{path} has {len(found)} questions, not {needed}: set fewer {names}"
    )
  return found


def _check_vocabularies(teacher, proxy):
  """Special tokens, which are kept apart, may be others."""
  paths = [pathlib.Path(folder) / tokenizer.NAME for folder in (teacher, proxy)]
  for folder in (teacher, proxy):
    tokenizer.load(folder)  # or says why
  one, other = (files.read_json(path)["model"].get("vocab") for path in paths)
  if one != other:
    raise ValueError(
      f"{paths[1]} has another vocabulary ({len(other)} tokens) than "
      f"{paths[0]} ({len(one)}): the proxy scores the teacher's tokens, so "
      "both must share one; the student may have its own"
    )
