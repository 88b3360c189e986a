"""Tests for simplex/adapters/targets.py."""

from absl.testing import absltest
import chex

from simplex.adapters import targets
from tests.adapters import toy


def select(**settings):
  return list(targets.select(targets.Config(**settings), toy.params()))


class TargetsTest(chex.TestCase):
  def test_the_default_is_every_kernel_and_no_bias(self):
    self.assertCountEqual(
      select(),
      [
        "params/query/kernel",
        "params/up/kernel",
        "params/down/kernel",
        "params/layers/up/kernel",
      ],
    )

  def test_a_pattern_matches_whole_paths(self):
    self.assertEqual(select(patterns=("params/up/.*",)), ["params/up/kernel"])
    with self.assertRaisesRegex(ValueError, "matches no matrix: the nearest"):
      select(patterns=("up",))

  def test_what_one_of_several_patterns_matches_is_taken_once(self):
    found = select(patterns=(r".*/(up|query)/kernel", r".*up.*"))
    self.assertLen(found, 3)

  def test_the_first_entry_that_matches_decides(self):
    config = targets.Config(
      rank=8,
      alpha=4.0,
      ranks=((r".*/up/kernel", 2), (r".*", 16)),
      alphas=((r".*/down/kernel", 32.0),),
    )
    self.assertEqual(targets.rank(config, "params/up/kernel"), 2)
    self.assertEqual(targets.gain(config, "params/up/kernel"), 2.0)
    self.assertEqual(targets.gain(config, "params/down/kernel"), 2.0)
    self.assertEqual(targets.gain(config, "params/query/kernel"), 0.25)

  def test_a_pattern_that_matches_nothing_lists_the_nearest_paths(self):
    nearest = r"matches no matrix: .*\['params/query/kernel'"
    with self.assertRaisesRegex(ValueError, nearest):
      select(patterns=(r"params/(up)/kernel", r"params/qurey/kernel"))
    with self.assertRaisesRegex(ValueError, "'params/up/bias' matches no"):
      select(patterns=("params/up/bias",))  # a vector
    for field in ("ranks", "alphas"):
      with self.assertRaisesRegex(ValueError, "no matrix that is adapted"):
        select(patterns=(r".*query.*",), **{field: ((r".*down.*", 4),)})

  def test_values_out_of_range_are_errors(self):
    for settings, message in (
      (dict(patterns="kernel"), "patterns='kernel' is not a tuple"),
      (dict(patterns=()), r"patterns=\(\) is not a tuple"),
      (dict(rank=0), "rank=0 is not at least 1"),
      (dict(ranks=((".*", -1),)), "rank=-1 is not at least 1"),
      (dict(patterns=("(",)), r"pattern='\(' is not a regular expression"),
      (dict(alphas=(("*", 1.0),)), r"pattern='\*' is not a regular expr"),
    ):
      with self.assertRaisesRegex(ValueError, message):
        targets.Config(**settings)


if __name__ == "__main__":
  absltest.main()
