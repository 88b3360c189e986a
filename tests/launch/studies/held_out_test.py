"""Tests for launch/studies/held_out.py."""

from absl.testing import absltest, parameterized
import numpy as np

from launch.studies import held_out
from trainers import images

LABELS = np.array([3, 1, 7, 1, 3], np.int32)
IMAGES = images.Images(
  LABELS.reshape(-1, 1, 1, 1),
  LABELS,
  LABELS[:3].reshape(-1, 1, 1, 1),
  LABELS[:3],
)


class HeldOutTest(parameterized.TestCase):
  def test_classes_are_parted_and_numbered_anew(self):
    learnt, unseen = held_out.split(IMAGES, (3,))
    np.testing.assert_array_equal(learnt.train.ravel(), [1, 7, 1])
    np.testing.assert_array_equal(learnt.train_labels, [0, 1, 0])
    np.testing.assert_array_equal(learnt.test_labels, [0, 1])
    np.testing.assert_array_equal(unseen.train.ravel(), [3, 3])
    np.testing.assert_array_equal(unseen.test_labels, [0])

  @parameterized.parameters(
    ((5,), r"held_out=\[5\] are not among the classes \[1, 3, 7\]"),
    ((), r"held_out=\(\) leaves 3 of 3 classes"),
    ((1, 3), r"held_out=\(1, 3\) leaves 1 of 3 classes"),
  )
  def test_what_leaves_too_little_is_an_error(self, classes, message):
    with self.assertRaisesRegex(ValueError, message):
      held_out.split(IMAGES, classes)


if __name__ == "__main__":
  absltest.main()
