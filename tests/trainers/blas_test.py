"""Tests for trainers/blas.py."""

from absl.testing import absltest
import threadpoolctl

from trainers import blas


def threads():
  libraries = threadpoolctl.threadpool_info()
  return [x["num_threads"] for x in libraries if x["user_api"] == "blas"]


class BlasTest(absltest.TestCase):
  def test_there_is_one_thread_inside_and_as_many_as_before_outside(self):
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
      before = threads()
      with blas.one_thread():
        self.assertEqual(set(threads()), {1})
      self.assertEqual(threads(), before)


if __name__ == "__main__":
  absltest.main()
