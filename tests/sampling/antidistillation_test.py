"""Tests for simplex/sampling/antidistillation.py."""

import functools

from absl.testing import absltest, parameterized
import chex
import jax
import jax.numpy as jnp
import numpy as np

from simplex.models import transformer
from simplex.sampling import antidistillation, decode, directions, transforms
from tests.sampling import bigrams

KEY = jax.random.key(3)
TEACHER_VV = jax.random.normal(jax.random.key(4), (bigrams.V, bigrams.V))
PROMPT_BT = jnp.arange(40).reshape(20, 2) % bigrams.V


def teacher(tokens_BT, calls):
  return TEACHER_VV[tokens_BT], calls


def exact(**fields):
  arguments = dict(
    extend_fn=bigrams.extend,
    params=bigrams.PARAMS,
    direction=bigrams.DIRECTION,
    caches=bigrams.caches(),
  )
  return antidistillation.exact(**{**arguments, **fields})


def central(epsilon=1e-2):
  return antidistillation.central(
    bigrams.extend,
    bigrams.PARAMS,
    bigrams.DIRECTION,
    bigrams.caches(),
    epsilon=epsilon,
  )


def drawn(*arranged, **options):
  return decode.generate(
    teacher, (), PROMPT_BT, KEY, num_tokens=4, transforms=arranged, **options
  )


def changed(transform, tokens_B1):
  """The teacher's logits after tokens, as the transform leaves them."""
  state = transforms.State(tokens_B1, transform.memory)
  logits_BV, _ = transform.apply(TEACHER_VV[tokens_B1[:, 0]], state)
  return logits_BV


class ScorerTest(chex.TestCase):
  @parameterized.parameters(exact, central)
  def test_delta_is_the_closed_form(self, scorer):
    scores, _ = jax.jit(scorer().next)(PROMPT_BT, scorer().memory)
    expected_BV = bigrams.derivative(PROMPT_BT[:, -1])
    chex.assert_trees_all_close(scores.delta_BV, expected_BV, atol=1e-3)
    log_probs_BV = jax.nn.log_softmax(bigrams.PARAMS["table"][PROMPT_BT[:, 1]])
    chex.assert_trees_all_close(scores.log_probs_BV, log_probs_BV, atol=1e-3)

  @parameterized.parameters("softmax", "forgetting_pro", "simplicial")
  def test_with_caches_it_equals_a_pass_over_the_whole(self, mixer):
    config = transformer.Config(
      vocab_size=11,
      width=8,
      num_layers=2 if mixer == "softmax" else 1,
      num_heads=2,
      mixer=mixer,
      implementation="reference",
    )
    model = transformer.Transformer(config)
    tokens_BT = jax.random.randint(KEY, (2, 6), 0, 11)
    params = jax.jit(model.init)(KEY, tokens_BT)
    direction = directions.random_like(KEY, params)
    extend = functools.partial(model.apply, method="extend")

    @jax.jit
    def deltas(params):
      scorer = antidistillation.exact(
        extend, params, direction, model.init_cache(2, 6)
      )
      memory, found = scorer.memory, []
      for tokens in (tokens_BT[:, :4], tokens_BT[:, 4:5], tokens_BT[:, 5:]):
        scores, memory = scorer.next(tokens, memory)
        found.append(scores.delta_BV)
      whole = lambda params: jax.nn.log_softmax(model.apply(params, tokens_BT))
      _, delta_BTV = directions.derivative(whole, params, direction)
      return jnp.stack(found, axis=1), delta_BTV[:, 3:]

    cached_BTV, whole_BTV = deltas(params)
    self.assertGreater(float(jnp.abs(whole_BTV).max()), 0.1)
    chex.assert_trees_all_close(cached_BTV, whole_BTV, atol=1e-4)

  def test_a_kernel_with_its_own_gradient_is_refused(self):
    config = transformer.Config(
      vocab_size=5,
      width=4,
      num_layers=1,
      num_heads=1,
      mixer="simplicial",
      implementation="xla",
    )
    model = transformer.Transformer(config)
    params = jax.eval_shape(model.init, KEY, PROMPT_BT)
    params = jax.tree.map(lambda x: jnp.zeros(x.shape), params)
    scorer = antidistillation.exact(
      functools.partial(model.apply, method="extend"),
      params,
      params,
      model.init_cache(20, 2),
    )
    with self.assertRaisesRegex(NotImplementedError, "reference"):
      scorer.next(PROMPT_BT, scorer.memory)

  def test_a_shuffled_delta_keeps_its_size_and_changes_at_every_token(self):
    scorer = antidistillation.permuted(exact(), KEY)
    first, memory = scorer.next(PROMPT_BT, scorer.memory)
    second, _ = scorer.next(PROMPT_BT, memory)
    plain_BV = jnp.abs(bigrams.derivative(PROMPT_BT[:, -1]))
    for scores in (first, second):
      np.testing.assert_allclose(
        jnp.sort(jnp.abs(scores.delta_BV)), jnp.sort(plain_BV), rtol=1e-4
      )
    self.assertGreater(
      float(jnp.abs(first.delta_BV - second.delta_BV).max()), 0.1
    )
    signs = np.mean(np.asarray(first.delta_BV) > 0)
    self.assertBetween(signs, 0.2, 0.8)

  @parameterized.parameters(0, -0.1, np.nan)
  def test_a_step_must_be_above_zero(self, epsilon):
    with self.assertRaisesRegex(ValueError, f"epsilon={epsilon} is not above"):
      central(epsilon)


class PenaltyTest(chex.TestCase):
  @parameterized.parameters(0.0, 0.6, 1.0)
  def test_at_lambda_0_it_is_temperature_sampling_bit_for_bit(self, tau):
    penalty = antidistillation.penalize(exact(), 0.0)
    plain, ours = drawn(temperature=tau), drawn(penalty, temperature=tau)
    chex.assert_trees_all_equal(plain, ours)

  def test_the_paper_adds_it_after_the_temperature(self):
    tokens_B1 = PROMPT_BT[:5, :1]
    penalty = antidistillation.penalize(exact(), 2.0)
    plain_BV = TEACHER_VV[tokens_B1[:, 0]]
    delta_BV = bigrams.derivative(tokens_B1[:, 0])
    logits_BV = {
      order: functools.reduce(
        lambda x, t: t.apply(x, transforms.State(tokens_B1, t.memory))[0],
        order(0.5, penalty),
        plain_BV,
      )
      for order in (
        antidistillation.paper_order,
        antidistillation.hugging_face_order,
      )
    }
    paper_BV, hugging_face_BV = logits_BV.values()
    chex.assert_trees_all_close(
      paper_BV, plain_BV / 0.5 + 2 * delta_BV, atol=1e-5
    )
    # In the other order lambda is in effect lambda / tau.
    chex.assert_trees_all_close(
      hugging_face_BV, plain_BV / 0.5 + 2 / 0.5 * delta_BV, atol=1e-5
    )

  def test_a_named_order_is_the_sampler_with_that_temperature(self):
    penalty = antidistillation.penalize(exact(), 1.5)
    ours = drawn(*antidistillation.paper_order(0.5, penalty))
    chex.assert_trees_all_equal(ours, drawn(penalty, temperature=0.5))

  def test_a_product_of_experts_ends_at_the_proxy(self):
    tokens_B1 = PROMPT_BT[:5, :1]
    products = [
      changed(
        antidistillation.penalize(
          exact(), weight, antidistillation.product_of_experts
        ),
        tokens_B1,
      )
      for weight in (0.0, 0.5, 1.0)
    ]
    log_probs = [jax.nn.log_softmax(x) for x in products]
    proxy_BV = jax.nn.log_softmax(bigrams.PARAMS["table"][tokens_B1[:, 0]])
    chex.assert_trees_all_close(log_probs[2], proxy_BV, atol=1e-5)
    chex.assert_trees_all_close(
      log_probs[1],
      jax.nn.log_softmax((log_probs[0] + proxy_BV) / 2),
      atol=1e-5,
    )

  def test_what_cannot_be_drawn_stays_so(self):
    penalty = antidistillation.penalize(exact(), 1e3)
    out = drawn(transforms.top_k(1), penalty)
    chex.assert_trees_all_equal(out.tokens_BT, drawn(temperature=0).tokens_BT)

  def test_a_proxy_with_another_vocabulary_is_refused(self):
    params = {"table": jnp.zeros((7, 7))}
    scorer = exact(params=params, direction=params)
    penalty = antidistillation.penalize(scorer, 1.0)
    with self.assertRaisesRegex(
      ValueError, "a vocabulary of 7 tokens cannot score a teacher's 5"
    ):
      drawn(penalty)


class AttackerTest(chex.TestCase):
  def test_the_harm_of_a_trace_is_the_rise_of_the_loss(self):
    tokens_NT = jax.random.randint(KEY, (6, 3), 0, bigrams.V)

    def log_probs(params):
      log_probs_NTV = jax.nn.log_softmax(params["table"][tokens_NT[:, :-1]])
      picked = jnp.take_along_axis(
        log_probs_NTV, tokens_NT[:, 1:, None], axis=-1
      )
      return picked.sum((1, 2))

    clean = lambda params: jnp.sum(params["table"] ** 3)
    gradient = jax.grad(clean)(bigrams.PARAMS)
    harm_N = antidistillation.harm(log_probs, bigrams.PARAMS, gradient)
    # Ascent on each trace, by a small step.
    steps = jax.jacobian(log_probs)(bigrams.PARAMS)
    for i in range(6):
      step = jax.tree.map(lambda x, i=i: x[i], steps)
      after = clean(directions.moved(bigrams.PARAMS, step, 1e-3))
      rise = (after - clean(bigrams.PARAMS)) / 1e-3
      self.assertAlmostEqual(float(rise), float(harm_N[i]), delta=0.05)

  def test_weights_have_mean_one_and_prefer_the_harmless(self):
    harm_N = jnp.array([3.0, -1.0, 0.5])
    weights_N = antidistillation.attacker_weights(harm_N, 2.0)
    self.assertAlmostEqual(float(weights_N.mean()), 1, places=5)
    self.assertEqual(jnp.argsort(weights_N).tolist(), [0, 2, 1])
    even_N = antidistillation.attacker_weights(harm_N, 0.0)
    chex.assert_trees_all_close(even_N, jnp.ones(3), atol=1e-6)


if __name__ == "__main__":
  absltest.main()
