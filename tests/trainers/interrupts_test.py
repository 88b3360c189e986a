"""Tests for trainers/interrupts.py."""

import os
import signal
import threading

from absl.testing import absltest, parameterized

from trainers import interrupts


class InterruptsTest(parameterized.TestCase):
  @parameterized.parameters(
    (signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, interrupts.Preempted)
  )
  def test_a_signal_is_remembered_and_a_second_one_raised(self, signum, why):
    before = signal.getsignal(signum)
    with self.assertRaises(why) as caught:
      with interrupts.deferred() as why_stop:
        self.assertIsNone(why_stop(1))
        os.kill(os.getpid(), signum)
        self.assertIs(why_stop(2), why)
        self.assertIs(why_stop(3), why)
        os.kill(os.getpid(), signum)
    self.assertIs(type(caught.exception), why)
    self.assertIs(signal.getsignal(signum), before)

  def test_other_threads_are_left_alone(self):
    found = []

    def ask():
      with interrupts.deferred() as why_stop:
        found.append(why_stop(1))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    self.assertEqual(found, [None])


if __name__ == "__main__":
  absltest.main()
