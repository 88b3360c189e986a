"""Tests for launch/generate.py and launch/writing.py."""

import dataclasses
import importlib.util
import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized
import jax

from launch import hugging_face, run, writing
from launch.experiments import random_computation
from simplex.models import transformer
from simplex.sampling import transforms
from tests.launch import command, toy_models
from tests.trainers import toy_tokenizer
from trainers import loop, optimizers, tokenizer


def trained(workdir: pathlib.Path) -> random_computation.Config:
  """A workdir as a run leaves it, of a model that has hardly been trained."""
  config = random_computation.tiny()
  run.claim_workdir(workdir, config)
  loop.fit(
    random_computation.problem(config),
    optimizers.make(config.optimizer, config.pretrain.num_steps),
    config.pretrain,
    f"{workdir}/pretrain/pretrained",
  )
  return config


class GenerateTest(parameterized.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = cls.enterClassContext(tempfile.TemporaryDirectory())
    cls.workdir = pathlib.Path(folder) / "generate"
    cls.config = trained(cls.workdir)

  def write(self, prompt=b"ab", **options):
    pieces = []
    author = writing.of_run(self.workdir)
    options = dict(num_tokens=24) | options
    written = writing.write(author, prompt, pieces.append, **options)
    return written, pieces

  def test_the_command_prints_what_the_model_writes(self):
    result = command.launch(
      f"--workdir={self.workdir}",
      "--prompt=ab",
      "--num_tokens=24",
      "--temperature=0",
      module="launch.generate",
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    _, pieces = self.write(temperature=0)
    self.assertEqual(result.stdout, "".join(pieces) + "\n")
    self.assertEqual(result.stderr, "")

  def test_text_comes_piece_by_piece(self):
    # Of all bytes, those that are one letter each.
    ascii_only = transforms.stateless(
      lambda x: x.at[:, 128:].set(-float("inf"))
    )
    written, pieces = self.write(cuts=[ascii_only])
    self.assertLen(written, 24)  # longer than the context of 16
    self.assertEqual([len(x) for x in pieces], [2] + 24 * [1])
    self.assertEqual("".join(pieces).encode(), b"ab" + bytes(written))

  def test_the_seed_decides_the_text(self):
    first, again, other = (self.write(seed=seed)[0] for seed in (1, 1, 2))
    self.assertEqual(first, again)
    self.assertNotEqual(first, other)

  def test_a_config_is_read_from_its_run(self):
    author = writing.of_run(self.workdir)
    self.assertEqual(author.config, self.config.model)
    self.assertEqual(author.context, self.config.context)
    table_VE = author.params["params"]["embed"]["embedding"]
    self.assertEqual(table_VE.shape, (256, 16))

  def test_no_run_says_what_was_looked_for_and_how_to_make_it(self):
    workdir = pathlib.Path(self.create_tempdir().full_path) / "none"
    result = command.launch(f"--workdir={workdir}", module="launch.generate")
    self.assertNotEqual(result.returncode, 0)
    self.assertIn(f"{workdir}/config.json does not exist", result.stderr)
    self.assertIn(f"random_computation --workdir={workdir}", result.stderr)
    self.assertNotIn("Traceback", result.stderr)
    self.assertFalse(workdir.exists())

  def test_a_run_without_a_checkpoint_says_so(self):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    run.claim_workdir(workdir, self.config)
    with self.assertRaisesRegex(
      ValueError, f"no checkpoint in {workdir}/pretrain/pretrained/checkpoints"
    ):
      writing.of_run(workdir)

  @parameterized.parameters(
    ("abrupt_learning", None, "run of random_computation: missing fields"),
    ("random_computation", 300, "model.vocab_size=300 in .* is not 256"),
  )
  def test_a_model_of_something_else_is_refused(self, name, vocab, message):
    workdir = pathlib.Path(self.create_tempdir().full_path)
    config = run.load(name).tiny()
    if vocab:
      model = transformer.Config(vocab_size=vocab)
      config = dataclasses.replace(config, model=model)
    run.claim_workdir(workdir, config)
    with self.assertRaisesRegex(ValueError, message):
      writing.of_run(workdir)

  @parameterized.parameters(
    ("--prompt=", "prompt='' has no token: it takes one to go on from"),
    ("--top_p=2", "top_p=2.0 is not in (0, 1]"),
    ("--dtype=bfloat16", "--dtype goes with --model alone"),
  )
  def test_a_bad_flag_is_explained(self, flag, message):
    result = command.launch(
      f"--workdir={self.workdir}", flag, module="launch.generate"
    )
    self.assertNotEqual(result.returncode, 0)
    self.assertIn(message, result.stderr)
    self.assertNotIn("Traceback", result.stderr)


class FolderTest(parameterized.TestCase):
  """Of Hugging Face: its tokens 0 to 255 are bytes, 256 begins a text."""

  def setUp(self):
    super().setUp()
    if importlib.util.find_spec("tokenizers") is None:
      self.skipTest("tokenizers is not installed")
    self.folder = pathlib.Path(self.create_tempdir().full_path) / "model"
    toy_models.save(self.folder, "LlamaForCausalLM")
    toy_tokenizer.write(self.folder)

  def set(self, name, **settings):
    (self.folder / name).write_text(json.dumps(settings))

  def write(self, author, **options):
    pieces = []
    prompt = writing.prompt_tokens(author, "hé", 8)
    options = dict(num_tokens=8, temperature=0) | options
    written = writing.write(author, prompt, pieces.append, **options)
    return written, pieces

  def test_the_command_prints_what_the_model_writes(self):
    result = command.launch(
      f"--model={self.folder}",
      "--prompt=hé",
      "--num_tokens=8",
      "--temperature=0",
      module="launch.generate",
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    written, pieces = self.write(writing.of_folder(self.folder))
    self.assertEqual(result.stdout, "".join(pieces) + "\n")
    self.assertStartsWith(result.stdout, "hé")
    self.assertLen(written, 8)

  def test_the_text_ends_with_a_token_of_the_settings(self):
    author = writing.of_folder(self.folder)
    self.assertEqual(author.stop_tokens, ())
    written, _ = self.write(author)
    third = written.index(written[2])
    self.set("generation_config.json", eos_token_id=[999, written[2]])
    author = writing.of_folder(self.folder)
    self.assertEqual(self.write(author)[0], written[: third + 1])

  def test_parameters_and_activations_have_the_dtype(self):
    author = writing.of_folder(self.folder, "bfloat16")
    self.assertEqual(author.config.dtype, "bfloat16")
    self.assertEqual(
      {str(x.dtype) for x in jax.tree.leaves(author.params)}, {"bfloat16"}
    )
    self.assertLen(self.write(author)[0], 8)

  def test_characters_are_shown_whole(self):
    words = tokenizer.load(self.folder)
    pieces, tokens = [], words.encode("aé€")[1:]
    tell = writing._teller(words, pieces.append)
    for end in range(1, len(tokens) + 1):
      tell(tokens[:end])
    tell([*tokens, 0xE2], final=True)
    self.assertEqual(pieces, ["a", "é", "€", "\N{REPLACEMENT CHARACTER}"])

  def test_learned_positions_end(self):
    gpt2 = self.folder.with_name("gpt2")
    toy_models.save(gpt2, "GPT2LMHeadModel")
    toy_tokenizer.write(gpt2)
    with self.assertRaisesRegex(
      ValueError, "prompt of 4 tokens and num_tokens=17 are more than the 20 po"
    ):
      writing.prompt_tokens(writing.of_folder(gpt2), "hé", 17)

  def test_a_tokenizer_of_another_model_is_refused(self):
    small = self.folder.with_name("small")
    config = dataclasses.replace(
      toy_models.CONFIGS["LlamaForCausalLM"], vocab_size=257
    )
    params = toy_models.params(config)
    hugging_face.save(small, "LlamaForCausalLM", config, params)
    toy_tokenizer.write(small)
    with self.assertRaisesRegex(
      ValueError, "tokenizer.json has 258 tokens, more than vocab_size=257 of"
    ):
      writing.of_folder(small)

  @parameterized.parameters(
    ("tokenizer.json", "there is no tokenizer in {0}: {0}/tokenizer.json does"),
    ("config.json", "there is no model in {0}: {0}/config.json does not exist"),
    ("model.safetensors", "{0} has neither model.safetensors nor model.safet"),
  )
  def test_a_missing_file_is_explained(self, name, message):
    (self.folder / name).unlink()
    with self.assertRaisesRegex(ValueError, message.format(self.folder)):
      writing.of_folder(self.folder)

  @parameterized.parameters(
    ((), "config.json: architectures=['Mamba'] has none of ['GPT2LMHeadModel"),
    (("--stop=x",), "--stop and --model do not go together"),
  )
  def test_a_bad_command_is_explained(self, flags, message):
    self.set("config.json", architectures=["Mamba"])
    result = command.launch(
      f"--model={self.folder}", *flags, module="launch.generate"
    )
    self.assertNotEqual(result.returncode, 0)
    self.assertIn(message, result.stderr)
    self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
  absltest.main()
