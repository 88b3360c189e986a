"""Real processes on one machine, which speak to each other through gloo."""

import json
import subprocess

from absl.testing import absltest, parameterized
import numpy as np

from tests.launch import command
from tests.trainers.roll_call_test import free_port
from trainers import distributed


def start(count, indices, workdir, seconds=60.0):
  """Runs these of `count` processes to their end: exit codes and output."""
  address = f"localhost:{free_port()}"
  processes = [
    subprocess.Popen(
      command.line(
        *(address, str(count), str(i), str(seconds), workdir),
        module="tests.trainers.one_of_many",
      ),
      cwd=command.ROOT,
      env=command.environment(),
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for i in indices
  ]
  ended = [p.communicate(timeout=300) for p in processes]
  return [
    (p.returncode, *text) for p, text in zip(processes, ended, strict=True)
  ]


class ManyProcessesTest(parameterized.TestCase):
  @parameterized.parameters(2, 4)
  def test_they_train_as_one_process_does(self, count):
    alone = self._trained(1)[0]
    together = self._trained(count)
    for said in together:
      self.assertEqual(said["devices"], count)
      self.assertLen(said["losses"], 20)
      np.testing.assert_allclose(said["losses"], alone["losses"], rtol=1e-5)
      np.testing.assert_allclose(said["params"], alone["params"], rtol=1e-5)
      self.assertLen(said["table"].splitlines(), 1 + count)
      self.assertIn("1 x cpu", said["table"].splitlines()[1])
      self.assertEqual(said["agreed"], "by 0")
      self.assertIn("no number", said["refused"])
    for said in together[:-1]:
      self.assertEqual(
        said["lonely"],
        f"after 0.5 s at the barrier 'lonely', missing: process {count - 1}",
      )

  def test_one_that_never_comes_is_named_and_the_others_end(self):
    workdir = self.create_tempdir().full_path
    for code, _, errors in start(3, [0, 2], workdir, seconds=8):
      self.assertEqual(code, 1)
      self.assertIn("missing: process 1\n", errors)

  def _trained(self, count):
    outcomes = start(count, range(count), self.create_tempdir().full_path)
    for code, _, errors in outcomes:
      self.assertEqual(code, 0, errors)
    return [json.loads(out.splitlines()[-1]) for _, out, _ in outcomes]


class StartTest(absltest.TestCase):
  def test_nothing_starts_where_nothing_is_found(self):
    self.assertEqual(distributed.start(distributed.Config()), ())
    self.assertEqual(distributed.start(distributed.Config("off")), ())

  def test_on_needs_to_know_the_others(self):
    with self.assertRaisesRegex(ValueError, "coordinator, num_processes"):
      distributed.start(distributed.Config("on"))

  def test_what_is_half_given_is_refused(self):
    with self.assertRaisesRegex(ValueError, "not given: process_id"):
      distributed.start(distributed.Config(coordinator="a:1", num_processes=2))

  def test_an_address_without_port_is_refused(self):
    with self.assertRaisesRegex(ValueError, "'here' is not host:port"):
      distributed.start(distributed.Config("on", "here", 2, 0))

  def test_a_process_outside_the_count_is_refused(self):
    with self.assertRaisesRegex(ValueError, r"process_id=2 is not in \[0, 2"):
      distributed.start(distributed.Config("on", "a:1", 2, 2))

  def test_alone_there_is_nobody_to_wait_for(self):
    distributed.barrier("alone")
    self.assertEqual(distributed.from_first("alone", lambda: 3), 3)


if __name__ == "__main__":
  absltest.main()
