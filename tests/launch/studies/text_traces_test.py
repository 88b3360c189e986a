"""Tests for launch/studies/text_traces.py; its whole is the experiment's."""

from unittest import mock

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from launch.studies import text_folders, text_traces, text_writing
from launch.studies.text_writing import Written
from simplex.models import transformer
from trainers.questions import Question

MODEL = transformer.Config(
  vocab_size=9, width=8, num_layers=1, num_heads=2, implementation="reference"
)
KEY = jax.random.key(0)


class TextTracesTest(chex.TestCase):
  def test_an_answer_is_forced_where_there_is_none_or_a_wrong_one(self):
    config = text_folders.Config(template="{question}=", force="\n####")
    asked = [Question(str(i), str(i)) for i in range(4)]
    written = Written(["####0", "none", "####7", ""], None)
    forced = Written(["9", " 1\n#", "2", "7"], None)
    with mock.patch.object(text_writing, "write", return_value=forced) as write:
      found = text_traces._accuracy(config, None, asked, written)
    prompts = write.call_args.args[1]
    self.assertEqual(prompts[1], "1=none\n####")
    self.assertEqual((found.raw, found.forced), (0.25, 0.75))

  def test_what_fills_the_last_part_does_not_count(self):
    net = transformer.Transformer(MODEL)
    params = net.init(KEY, jnp.zeros((1, 4), jnp.int32))
    batch = {
      "tokens": jax.random.randint(KEY, (3, 4), 0, 9),
      "targets": jnp.ones((3, 4), jnp.int32),
      "mask": jnp.ones((3, 4)).at[0, 0].set(0),
    }
    found = []
    for size in (3, 5):
      parts = text_traces._parts(batch, size)
      g = text_traces._gradient(MODEL, params, parts)
      first = jax.tree.map(lambda x: x[0], parts)
      weight = text_traces._weight(MODEL, 9, 0.0, params, g, first)
      found.append((g, weight))
    chex.assert_trees_all_close(*found, rtol=1e-4, atol=1e-6)
    self.assertGreater(float(found[0][1]), 0)
    near = text_traces._weight(MODEL, 9, 1e-3, params, g, first)
    np.testing.assert_allclose(near, weight, rtol=1e-2)


if __name__ == "__main__":
  absltest.main()
