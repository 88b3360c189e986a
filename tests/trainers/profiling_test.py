"""Tests for trainers/profiling.py."""

import pathlib

from absl.testing import absltest, parameterized
import optax

from tests.trainers import toy
from trainers import loop, profiling

CONFIG = loop.Config(num_steps=6, eval_every=6)


class ProfilingTest(parameterized.TestCase):
  def fit(self, steps, config=CONFIG):
    workdir = self.create_tempdir().full_path
    with profiling.requested(steps):
      loop.fit(toy.problem(), optax.sgd(0.1), config, workdir)
    return list(pathlib.Path(workdir).glob("profile/**/*.xplane.pb"))

  def test_the_steps_asked_for_are_in_the_profile_and_no_others(self):
    (path,) = self.fit(range(2, 4))
    names = path.read_bytes()
    self.assertIn(b"step_num", names)
    self.assertIn(b"train", names)

  def test_steps_beyond_the_run_leave_no_profile_and_others_end_with_it(self):
    self.assertEmpty(self.fit(range(6, 9)))
    self.assertLen(self.fit(range(4, 9)), 1)

  def test_nothing_is_done_where_nothing_is_asked(self):
    with profiling.profiled(step_fn := lambda state: state, "/none") as step:
      self.assertIs(step, step_fn)
    self.assertEmpty(self.fit(None))

  @parameterized.parameters("10", "10:10", "20:10", "a:b", "-1:5")
  def test_steps_that_are_none_are_refused(self, text):
    with self.assertRaisesRegex(ValueError, f"{text} is not like 10:20"):
      profiling.parse(text)

  def test_the_second_number_is_not_profiled(self):
    self.assertEqual(list(profiling.parse("10:13")), [10, 11, 12])


if __name__ == "__main__":
  absltest.main()
