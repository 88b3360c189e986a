from concurrent import futures
import socket
import time

from absl.testing import absltest

from trainers import roll_call


def free_port() -> int:
  with socket.create_server(("", 0)) as server:
    return server.getsockname()[1]


def call(callers, seconds=10.0):
  """Members, or what is raised, of `(index, count)` callers at once."""
  address = f"localhost:{free_port()}"
  with futures.ThreadPoolExecutor(len(callers)) as pool:
    calls = [pool.submit(roll_call.meet, address, *c, seconds) for c in callers]
    return [c.exception() or c.result() for c in calls]


class RollCallTest(absltest.TestCase):
  def test_all_who_come_learn_of_all(self):
    first, second, third = call([(2, 3), (0, 3), (1, 3)])
    self.assertEqual([m.index for m in first], [0, 1, 2])
    self.assertEqual(first, second)
    self.assertEqual(first, third)
    self.assertEqual(first[0].host, socket.gethostname())

  def test_one_alone_waits_for_nobody(self):
    (members,) = call([(0, 1)])
    self.assertLen(members, 1)

  def test_who_does_not_come_is_named_to_all_who_did(self):
    outcomes = call([(0, 4), (3, 4)], seconds=0.5)
    for outcome in outcomes:
      self.assertIsInstance(outcome, TimeoutError)
      self.assertIn("missing: process 1, process 2\n", str(outcome))
      self.assertIn(f"process 3 on {socket.gethostname()}", str(outcome))

  def test_without_process_0_the_others_say_that_it_cannot_be_reached(self):
    (outcome,) = call([(1, 2)], seconds=0.5)
    self.assertIsInstance(outcome, TimeoutError)
    self.assertIn("process 0 cannot be reached: [Errno 111]", str(outcome))

  def test_two_of_one_number_are_refused(self):
    for outcome in call([(0, 3), (1, 3), (1, 3)]):
      self.assertIsInstance(outcome, ValueError)
      self.assertIn("two processes say they are number 1", str(outcome))

  def test_different_counts_are_refused(self):
    for outcome in call([(0, 2), (1, 3)]):
      self.assertIsInstance(outcome, ValueError)
      self.assertIn("expects 3 processes, process 0", str(outcome))

  def test_a_stranger_on_the_port_is_not_counted(self):
    port = free_port()
    with futures.ThreadPoolExecutor(2) as pool:
      host = pool.submit(roll_call.meet, f"localhost:{port}", 0, 2, 10)
      while True:  # until it listens
        try:
          stranger = socket.create_connection(("localhost", port))
          break
        except OSError:
          time.sleep(0.01)
      with stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        stranger.shutdown(socket.SHUT_WR)
        guest = pool.submit(roll_call.meet, f"localhost:{port}", 1, 2, 10)
        self.assertEqual(host.result(), guest.result())


if __name__ == "__main__":
  absltest.main()
