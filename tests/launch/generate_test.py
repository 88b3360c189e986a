"""Tests for launch/generate.py and launch/writing.py."""

import dataclasses
import pathlib

from absl.testing import absltest, parameterized

from launch import run, writing
from launch.experiments import random_computation
from simplex.models import transformer
from simplex.sampling import transforms
from tests.launch import command
from trainers import loop, optimizers


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
    cls.workdir = pathlib.Path(absltest.get_default_test_tmpdir()) / "generate"
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
  )
  def test_a_bad_flag_is_explained(self, flag, message):
    result = command.launch(
      f"--workdir={self.workdir}", flag, module="launch.generate"
    )
    self.assertNotEqual(result.returncode, 0)
    self.assertIn(message, result.stderr)
    self.assertNotIn("Traceback", result.stderr)


if __name__ == "__main__":
  absltest.main()
