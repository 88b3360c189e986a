"""Tests for the tasks of simplex/data/sequences."""

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.data.sequences import (
  addition,
  copying,
  histogram,
  moving_sum,
  permutation,
  prefix_sum,
  task as tasks,
)

ALL = (
  moving_sum.task(moving_sum.Config(5, 3, 7)),
  prefix_sum.task(prefix_sum.Config(4, 7)),
  addition.task(addition.Config(3)),
  permutation.task(permutation.Config(4, 3)),
  histogram.task(histogram.Config(6, 3)),
  *(
    copying.task(copying.Config(kind, 4, 5))
    for kind in ("copy", "reverse", "repeat")
  ),
)


def examples(task, count=64):
  keys = jax.random.split(jax.random.key(0), count)
  return np.asarray(jax.vmap(task.sample)(keys))


def split(task):
  sequences = examples(task)
  return sequences[:, : task.prompt_length], sequences[:, task.prompt_length :]


class SequencesTest(chex.TestCase):
  @parameterized.parameters(*enumerate(ALL))
  def test_tokens_are_in_the_vocabulary_and_maps_are_causal(self, i, task):
    del i
    sequences = examples(task)
    length = task.prompt_length + task.answer_length
    self.assertEqual(sequences.shape, (64, length))
    self.assertBetween(sequences.min(), 0, task.vocab_size - 1)
    self.assertBetween(sequences.max(), 0, task.vocab_size - 1)
    maps_BLMS = np.asarray(jax.vmap(task.optimal)(sequences))
    self.assertEqual(maps_BLMS.shape[2:], (task.answer_length, task.length))
    future = np.triu(np.ones(maps_BLMS.shape[2:], bool), task.prompt_length)
    self.assertFalse((maps_BLMS & future).any())
    self.assertTrue(maps_BLMS.any(-1).all())

  def test_a_batch_is_shifted_by_one_and_its_mask_is_the_answer(self):
    task = ALL[0]
    key = jax.random.key(1)
    batch = tasks.sampler(task)(key)
    np.testing.assert_array_equal(batch["tokens"][1:], batch["targets"][:-1])
    answer = batch["targets"][batch["mask"] == 1]
    np.testing.assert_array_equal(answer, task.sample(key)[-5:])

  @parameterized.product(n=(5, 6), k=(1, 2, 3, 5))
  def test_moving_sums_are_sums_of_the_last_k(self, n, k):
    task = moving_sum.task(moving_sum.Config(n, k, 7))
    prompt, answer = split(task)
    self.assertBetween(prompt[:, :-1].min(), 1, 6)
    for i in range(n):
      window = prompt[:, max(i - k + 1, 0) : i + 1]
      sums = prompt[:, i] if i < k - 1 else window.sum(1) % 7
      np.testing.assert_array_equal(answer[:, i], sums)

  @parameterized.product(k=(1, 2, 3, 4))
  def test_the_map_of_a_moving_sum_has_the_keys_it_depends_on(self, k):
    n, p = 6, 7
    task = moving_sum.task(moving_sum.Config(n, k, p))
    sums = lambda x: [
      x[i] if i < k - 1 else sum(x[i - k + 1 : i + 1]) % p for i in range(n)
    ]
    x = [1] * n
    changed = np.zeros((n, 2 * n), bool)
    for j in range(n):
      other = x[:j] + [2] + x[j + 1 :]
      changed[:, j] = np.array(sums(other)) != np.array(sums(x))
    np.testing.assert_array_equal(task.optimal(None)[0], changed)

  def test_the_published_map_for_windows_of_3_misses_a_key(self):
    n = 16
    ours = np.asarray(moving_sum.task(moving_sum.Config(n, 3)).optimal(None))[0]
    published = np.zeros((n, 2 * n), bool)  # train_mws_random_init.py
    published[0, 0] = published[1, 1] = True
    for i in range(n - 2):
      published[i + 2, i : i + 2] = True
    self.assertTrue((ours | ~published).all())
    missed = ours & ~published
    np.testing.assert_array_equal(
      np.argwhere(missed), [(i, i) for i in range(2, n)]
    )
    self.assertAlmostEqual(published.sum() / ours.sum(), 30 / 44)

  def test_prefix_sums_add_a_number_to_the_sum_before(self):
    task = ALL[1]
    prompt, answer = split(task)
    np.testing.assert_array_equal(answer, prompt[:, :-1].cumsum(1) % 7)
    map_MS = np.asarray(task.optimal(None))[0]
    np.testing.assert_array_equal(np.flatnonzero(map_MS[2]), [2, 6])

  def test_additions_are_right_with_the_lowest_digit_first(self):
    prompt, answer = split(ALL[2])
    tens = 10 ** np.arange(4)
    a, b = prompt[:, :3] @ tens[2::-1], prompt[:, 4:7] @ tens[2::-1]
    np.testing.assert_array_equal(answer @ tens, a + b)
    self.assertGreater(a.min(), 0)

  def test_a_digit_of_a_sum_looks_at_its_place_and_the_one_below(self):
    keys = [list(np.flatnonzero(row)) for row in ALL[2].optimal(None)[0]]
    # a is at 2, 1, 0 and b at 6, 5, 4, from the lowest place on.
    self.assertEqual(keys, [[2, 6], [1, 2, 5, 6], [0, 1, 4, 5], [0, 4]])

  def test_looking_twice_where_it_should_permutes(self):
    task = ALL[3]
    sequences = examples(task)
    prompt, answer = split(task)
    maps_BLMS = np.asarray(jax.vmap(task.optimal)(sequences))
    first, second = maps_BLMS.argmax(-1).transpose(1, 0, 2)
    places = np.take_along_axis(prompt, first, axis=1)
    self.assertEqual(set(places.ravel()), {1, 2, 3, 4})
    np.testing.assert_array_equal(second, places - 1)
    found = np.take_along_axis(prompt, second, axis=1)
    np.testing.assert_array_equal(found, answer)

  def test_a_histogram_counts_the_keys_of_its_second_layer(self):
    task = ALL[4]
    prompt, answer = split(task)
    for x, y in zip(prompt[:, :-1], answer, strict=True):
      np.testing.assert_array_equal(y, [np.sum(x == value) for value in x])
    maps_BLMS = jax.vmap(task.optimal)(examples(task))
    np.testing.assert_array_equal(maps_BLMS[:, 1].sum(-1), answer)

  def test_copies_are_copies_at_the_keys_of_their_map(self):
    for kind, task in zip(("copy", "reverse", "repeat"), ALL[5:], strict=True):
      prompt, answer = split(task)
      source = {"copy": [0, 1, 2, 3], "reverse": [3, 2, 1, 0]}.get(
        kind, [0] * 4
      )
      np.testing.assert_array_equal(answer, prompt[:, source])
      first_key = np.asarray(task.optimal(None))[0].argmax(-1)
      np.testing.assert_array_equal(first_key, source)

  def test_blocks_of_a_repetition_count_up(self):
    task = copying.task(copying.Config("repeat", 4, 5, blocks=2))
    prompt, answer = split(task)
    up = jnp.array([0, 0, 1, 1])
    np.testing.assert_array_equal(answer, (prompt[:, :1] + up) % 6)

  @parameterized.parameters(
    (lambda: moving_sum.Config(4, 5), "window=5 must be from 1 to length=4"),
    (lambda: moving_sum.Config(modulus=1), "modulus=1 must be at least 2"),
    (lambda: prefix_sum.Config(0), "length=0 must be at least 1"),
    (lambda: addition.Config(10), "digits=10 must be from 1 to 9"),
    (lambda: permutation.Config(values=0), "values=0 must be at least 1"),
    (lambda: histogram.Config(symbols=0), "symbols=0 must be at least 1"),
    (lambda: copying.Config("cope"), "kind='cope' is not one of .*'reverse'"),
    (lambda: copying.Config(blocks=3), "blocks=3 must divide length=16"),
  )
  def test_sizes_that_cannot_be_are_errors(self, make, message):
    with self.assertRaisesRegex(ValueError, message):
      make()


if __name__ == "__main__":
  absltest.main()
