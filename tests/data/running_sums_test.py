"""Tests for simplex/data/running_sums.py."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data import running_sums

CONFIG = running_sums.Config(length=3, modulus=7)


def drawn(count, errors=0.0):
  sample = running_sums.sampler(CONFIG, errors)
  return jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), count))


class RunningSumsTest(chex.TestCase):
  def test_a_completion_sums_up_and_answers(self):
    text_T = running_sums.completion(CONFIG, jnp.array([3, 5, 6, 7]))
    self.assertEqual(text_T.tolist(), [3, 1, 0, 8, 0])
    text = running_sums.text(CONFIG, [3, 5, 6, 7, *text_T.tolist()])
    self.assertEqual(text, "356:310=0")

  def test_an_example_asks_for_the_completion_alone(self):
    batch = drawn(20)
    tokens_BT = np.asarray(batch["tokens"])
    self.assertEqual(tokens_BT.shape, (20, 8))
    self.assertTrue((tokens_BT[:, 3] == 7).all())
    self.assertEqual(batch["mask"][0].tolist(), [0, 0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(tokens_BT[:, 1:], batch["targets"][:, :-1])
    sums_BN = np.cumsum(tokens_BT[:, :3], axis=1) % 7
    np.testing.assert_array_equal(tokens_BT[:, 4:7], sums_BN)
    np.testing.assert_array_equal(batch["targets"][:, -1], sums_BN[:, -1])

  def test_errors_are_as_many_as_asked_and_leave_answers_right(self):
    batch = drawn(2000, errors=0.3)
    sums_BN = np.cumsum(batch["tokens"][:, :3], axis=1) % 7
    wrong = np.asarray(batch["tokens"][:, 4:7]) != sums_BN
    self.assertAlmostEqual(wrong.mean(), 0.3, delta=0.03)
    np.testing.assert_array_equal(batch["targets"][:, -1], sums_BN[:, -1])
    self.assertLess(int(batch["tokens"].max()), CONFIG.vocab_size)

  @parameterized.parameters(
    (dict(length=0), "length=0 is not at least 1"),
    (dict(modulus=1), "modulus=1 is not at least 2"),
  )
  def test_sizes_that_cannot_be_are_errors(self, fields, message):
    with self.assertRaisesRegex(ValueError, message):
      running_sums.Config(**fields)

  def test_a_share_of_errors_is_in_0_to_1(self):
    with self.assertRaisesRegex(ValueError, r"errors=1.5 is not in \[0, 1\]"):
      running_sums.sampler(CONFIG, 1.5)


if __name__ == "__main__":
  absltest.main()
