"""Tiny models and questions in files, for antidistillation."""

import dataclasses
import json
import pathlib

from launch.experiments import antidistillation
from launch.studies import protected_traces, text_folders
from simplex.adapters import targets
from tests.launch import toy_models
from tests.trainers import toy_tokenizer


def sizes(traces: int, held_out: int, test: int) -> protected_traces.Sizes:
  """Of which the counts alone matter."""
  config = dataclasses.replace(
    antidistillation.tiny(),
    traces=traces,
    batch_size=traces,
    held_out=held_out,
    test=test,
    evals=1,
  )
  return antidistillation.sizes(config)


def write(root: pathlib.Path, count: int) -> text_folders.Config:
  """Three models, and `count` questions of sums in either file."""
  paths = {}
  for name, architecture in (
    ("teacher", "LlamaForCausalLM"),
    ("proxy", "Qwen2ForCausalLM"),
    ("student", "LlamaForCausalLM"),
  ):
    paths[name] = str(root / name)
    toy_models.save(
      root / name, architecture, others={"eos_token_id": toy_tokenizer.END}
    )
    toy_tokenizer.write(root / name)
  for name in ("questions", "test"):
    paths[name] = str(root / f"{name}.jsonl")
    lines = [
      {"question": f"{i} + 1?", "answer": f"One more.\n#### {i + 1}"}
      for i in range(count)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    pathlib.Path(paths[name]).write_text(text)
  return text_folders.Config(
    **paths,
    template="{question}",
    max_tokens=6,  # as many, for one program less
    answer_tokens=6,
    at_once=4,
    accumulate=2,
    adapter=targets.Config((r".*layer.*kernel",), rank=2, alpha=2.0),
  )
