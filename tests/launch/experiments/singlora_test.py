"""Tests for launch/experiments/singlora.py."""

import dataclasses

from absl import app
from absl.testing import absltest

from launch.experiments import singlora


class SingloraTest(absltest.TestCase):
  def test_counts_are_those_of_the_models(self):
    found = {n: singlora.counts(fn()) for n, fn in singlora.SHAPES.items()}
    self.assertEqual(found["LLaMA-7B"], (19_988_480, 12_648_448))
    self.assertEqual(found["GPT-2"], (1_179_648, 884_736))

  def test_an_unknown_arm_or_none_is_refused(self):
    for arms, message in (
      (("lora", "lor"), r"not \['lor'\]"),
      ((), r"arms=\(\) must name some of \['lora'"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        singlora.Config(arms=arms)

  def test_an_unknown_text_is_refused(self):
    config = dataclasses.replace(singlora.tiny(), first="poetry")
    with self.assertRaisesRegex(app.UsageError, "'poetry' is not one of"):
      singlora.problem(config)


if __name__ == "__main__":
  absltest.main()
