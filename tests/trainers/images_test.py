"""Tests for trainers/images.py."""

import gzip
import pathlib

from absl.testing import absltest
import numpy as np

from trainers import images


def idx(data):
  header = bytes((0, 0, 8, data.ndim))
  return header + np.array(data.shape, ">u4").tobytes() + data.tobytes()


class ImagesTest(absltest.TestCase):
  def folder(self):
    return pathlib.Path(self.create_tempdir().full_path)

  def mnist(self, folder):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 28, 28), np.uint8)
    labels = np.arange(5, dtype=np.uint8)
    for part in ("train", "t10k"):
      (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(pixels))
      path = folder / f"{part}-labels-idx1-ubyte.gz"
      path.write_bytes(gzip.compress(idx(labels)))
    return pixels

  def test_digits_are_split_once_and_for_all(self):
    found = images.load("digits")
    self.assertEqual(found.train_NHWC.shape, (1438, 8, 8, 1))
    self.assertEqual(found.test_NHWC.shape, (359, 8, 8, 1))
    self.assertEqual(found.train_NHWC.max(), 1)
    self.assertEqual(set(found.test_labels_N.tolist()), set(range(10)))
    again = images.load("digits")
    np.testing.assert_array_equal(found.test_NHWC, again.test_NHWC)

  def test_mnist_is_read_packed_or_not(self):
    folder = self.folder()
    pixels = self.mnist(folder)
    found = images.load(str(folder))
    np.testing.assert_allclose(found.test_NHWC[..., 0], pixels / 255, rtol=1e-6)
    self.assertEqual(found.train_labels_N.tolist(), [0, 1, 2, 3, 4])

  def test_cifar_has_channels_last(self):
    folder = self.folder()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    row = bytes((7,)) + pixels.tobytes()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
      (folder / f"{name}.bin").write_bytes(row)
    found = images.load(str(folder))
    self.assertEqual(found.train_NHWC.shape, (5, 32, 32, 3))
    np.testing.assert_allclose(
      found.test_NHWC[0], pixels.transpose(1, 2, 0) / 255, rtol=1e-6
    )
    self.assertEqual(found.test_labels_N.tolist(), [7])

  def test_what_is_not_there_is_said(self):
    with self.assertRaisesRegex(
      ValueError, "'no/such' is not 'digits' and not a folder with the four"
    ):
      images.load("no/such")

  def test_a_missing_file_is_named(self):
    folder = self.folder()
    self.mnist(folder)
    (folder / "t10k-images-idx3-ubyte").unlink()
    with self.assertRaisesRegex(ValueError, "t10k-images.* is missing"):
      images.load(str(folder))

  def test_a_cut_file_is_refused(self):
    folder = self.folder()
    self.mnist(folder)
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with self.assertRaisesRegex(
      ValueError, r"has 3919 bytes for \(5, 28, 28\)"
    ):
      images.load(str(folder))


if __name__ == "__main__":
  absltest.main()
