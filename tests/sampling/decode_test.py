"""Tests for simplex/sampling/decode.py."""

import functools

from absl.testing import absltest
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import transformer
from simplex.sampling import decode, transforms

KEY = jax.random.key(0)
# The likeliest token after token i is i + 1, and after 4 it is 0.
NEXT_VV = jnp.roll(jnp.eye(5), 1, axis=1)


def markov(tokens_BT, calls):
  """Logits that know the last token alone; counts its calls."""
  return NEXT_VV[tokens_BT], calls + 1


def generate(prompt_BT, num_tokens, *, extend=markov, **options):
  """What is drawn from a Markov chain."""
  fn = functools.partial(
    decode.generate, extend, num_tokens=num_tokens, **options
  )
  return jax.jit(fn)(jnp.zeros((), jnp.int32), jnp.array(prompt_BT), KEY)


class GenerateTest(chex.TestCase):
  def test_without_temperature_the_likeliest_follow(self):
    out = generate([[1, 0], [1, 3]], 4, temperature=0)
    self.assertEqual(out.tokens_BT.tolist(), [[1, 2, 3, 4], [4, 0, 1, 2]])
    self.assertEqual(out.length_B.tolist(), [4, 4])

  def test_log_probabilities_are_those_of_the_model(self):
    cuts = [transforms.top_k(2)]
    out = generate([[0]], 3, temperature=0, transforms=cuts)
    likeliest = 1 - np.log(np.e + 4)
    np.testing.assert_allclose(out.log_probs_BT, [[likeliest] * 3], rtol=1e-6)

  def test_every_text_ends_with_its_stop_token(self):
    calls = []

    def extend(tokens_BT, state):
      jax.debug.callback(lambda: calls.append(tokens_BT.shape[1]))
      return markov(tokens_BT, state)

    out = generate(
      [[0], [3]], 9, extend=extend, temperature=0, stop_tokens=(2, 4)
    )
    jax.effects_barrier()
    self.assertEqual(out.length_B.tolist(), [2, 1])
    self.assertEqual(out.tokens_BT.sum(0).tolist(), [5, 2] + [0] * 7)
    self.assertEqual(out.log_probs_BT[1, 1:].tolist(), [0] * 8)
    self.assertLen(calls, 2)

  def test_tokens_are_as_frequent_as_they_are_probable(self):
    prompt_BT = jnp.zeros((4000, 1), jnp.int32)
    out = generate(prompt_BT, 2, temperature=0.5)
    probs_V = jax.nn.softmax(2 * NEXT_VV[0])
    counts_V = np.bincount(out.tokens_BT[:, 0], minlength=5) / 4000
    np.testing.assert_allclose(counts_V, probs_V, atol=0.03)
    # The second draw is another one.
    shift = (out.tokens_BT[:, 1] - out.tokens_BT[:, 0]) % 5
    self.assertAlmostEqual(np.mean(shift == 1), probs_V[1], delta=0.03)

  def test_a_transform_remembers_what_it_has_seen(self):
    def never_again(logits_BV, state):
      seen_BV = state.memory | jax.nn.one_hot(
        state.tokens_BT, 5, dtype=bool
      ).any(1)
      logits_BV = jnp.where(seen_BV, -jnp.inf, logits_BV)
      return logits_BV, state._replace(memory=seen_BV)

    once = transforms.Transform(never_again, jnp.zeros((2, 5), bool))
    out = generate([[0, 2], [4, 1]], 3, transforms=[once])
    for prompt, tokens in zip(((0, 2), (4, 1)), out.tokens_BT, strict=True):
      self.assertCountEqual([*prompt, *tokens.tolist()], range(5))

  def test_transforms_come_after_the_temperature_in_their_order(self):
    seen = []
    look = transforms.stateless(
      lambda x: (
        jax.debug.callback(lambda x: seen.append(float(x)), x.max()),
        x,
      )[1]
    )
    double = transforms.stateless(lambda x: 2 * x)
    generate([[0]], 1, temperature=0.25, transforms=[double, look])
    jax.effects_barrier()
    self.assertEqual(seen, [8.0])

  def test_a_prompt_with_padding_goes_on_as_if_alone(self):
    config = transformer.Config(
      vocab_size=11, width=8, num_layers=1, num_heads=2
    )
    model = transformer.Transformer(config)
    params = jax.jit(model.init)(KEY, jnp.zeros((1, 4), jnp.int32))

    @jax.jit
    def greedy(prompt_BT, padding_B):
      caches = model.init_cache(len(prompt_BT), 10, padding_B)
      extend = functools.partial(model.apply, params, method="extend")
      return decode.generate(
        extend, caches, prompt_BT, KEY, num_tokens=4, temperature=0
      )

    prompts = ([1, 2, 3, 4, 5], [6, 7])
    both, alone = (
      greedy(*decode.left_padded(some)) for some in (prompts, prompts[1:])
    )
    self.assertEqual(both.tokens_BT[1].tolist(), alone.tokens_BT[0].tolist())
    np.testing.assert_allclose(
      both.log_probs_BT[1], alone.log_probs_BT[0], atol=1e-5
    )

  def test_padding_is_on_the_left(self):
    prompt_BT, padding_B = decode.left_padded([b"ab", [7], (1, 2, 3)])
    self.assertEqual(prompt_BT.tolist(), [[0, 97, 98], [0, 0, 7], [1, 2, 3]])
    self.assertEqual(padding_B.tolist(), [1, 2, 0])

  def test_wrong_values_are_named(self):
    with self.assertRaisesRegex(
      ValueError, "prompts of 0 tokens, num_tokens=3"
    ):
      generate(jnp.zeros((2, 0), jnp.int32), 3)
    with self.assertRaisesRegex(
      ValueError, "num_tokens=0: both are at least 1"
    ):
      generate([[1]], 0)
    with self.assertRaisesRegex(ValueError, r"prompts of \[2, 0\] tokens"):
      decode.left_padded([b"ab", b""])
    with self.assertRaisesRegex(ValueError, r"prompts of \[\] tokens"):
      decode.left_padded([])


if __name__ == "__main__":
  absltest.main()
