"""Antidistillation sampling: traces that teach a student the wrong thing.

Savani et al. 2025, https://arxiv.org/abs/2504.13146, algorithm 1. A token is
drawn from

    softmax(logits / tau + lambda Delta),
    Delta(token) = d/ds log p(token | text; theta + s g) at s = 0,

with theta a proxy student and g the gradient of its loss on held-out traces:
to first order, Delta is by how much a step of a student on that token raises
the loss. A positive lambda protects, a negative one helps the student.

    memory = model.init_cache(B, length)       # of the proxy, as of the teacher
    scorer = antidistillation.exact(extend, params, direction, memory)
    decode.generate(
      ..., transforms=[antidistillation.penalize(scorer, weight)]
    )

`directions` has g, its controls and the weight; `extend` is
`(params, tokens_BT, caches) -> (logits_BTV, caches)`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from simplex.sampling import directions, transforms
from simplex.sampling.transforms import Transform
from simplex.types import Array, Key, Params

Extend = Callable[[Params, Array, Any], tuple[Array, Any]]


class Scores(NamedTuple):
  """What a proxy says of every next token.

  Attributes:
    log_probs_BV: float32.
    delta_BV: their derivative along the direction, which has the mean 0 under
      the proxy.
  """

  log_probs_BV: Array
  delta_BV: Array


class Scorer(NamedTuple):
  """A proxy that reads along.

  Attributes:
    next: `(tokens_BT, memory) -> (scores, memory)`, given what is new.
    memory: that it starts with, such as its caches.
  """

  next: Callable[[Array, Any], tuple[Scores, Any]]
  memory: Any


def exact(
  extend_fn: Extend, params: Params, direction: Params, caches: Any
) -> Scorer:
  """Delta as an exact derivative, from one pass of `jax.jvp`.

  Caches depend on the parameters: their derivatives are carried along, so that
  Delta is that of a pass over the whole text.

  Args:
    extend_fn: of the proxy. One whose attention has a gradient written by hand
      is refused as it is traced: give its model `implementation="reference"`.
    params: theta.
    direction: g, of the same structure.
    caches: of texts that have not begun, with the padding of the prompts.
  """
  floats, _ = _split(caches)
  zeros = jax.tree.map(jnp.zeros_like, floats)

  def score(tokens_BT, memory):
    caches, tangents = memory
    floats, others = _split(caches)

    def forward(point):
      params, floats = point
      caches = _joined(floats, others)
      logits_BTV, caches = extend_fn(params, tokens_BT, caches)
      floats, after = _split(caches)
      return (_log_probs(logits_BTV), floats), after

    (log_probs_BV, floats), (delta_BV, tangents), others = (
      directions.derivative(
        forward, (params, floats), (direction, tangents), has_aux=True
      )
    )
    caches = _joined(floats, others)
    return Scores(log_probs_BV, delta_BV), (caches, tangents)

  return Scorer(score, (caches, zeros))


def central(
  extend_fn: Extend,
  params: Params,
  direction: Params,
  caches: Any,
  *,
  epsilon: float | Array,
) -> Scorer:
  """Delta as the central difference of the paper: two copies of the proxy.

  `(log p(theta + epsilon g) - log p(theta - epsilon g)) / (2 epsilon)`; the
  copies run as one program, by `vmap`. The log-probabilities are their mean.

  Args:
    extend_fn: of the proxy, whatever its attention.
    params: theta.
    direction: g.
    caches: of texts that have not begun.
    epsilon: see `directions.calibrate`.

  Raises:
    ValueError: epsilon is a number that is not above 0.
  """
  if not isinstance(epsilon, jax.Array) and not epsilon > 0:
    raise ValueError(f"epsilon={epsilon} is not above 0")
  pair = [directions.moved(params, direction, s * epsilon) for s in (1, -1)]
  params = jax.tree.map(lambda *xs: jnp.stack(xs), *pair)
  caches = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, *x.shape)), caches)

  def score(tokens_BT, caches):
    both = jax.vmap(extend_fn, in_axes=(0, None, 0))
    logits, caches = both(params, tokens_BT, caches)
    above_BV, below_BV = jax.vmap(_log_probs)(logits)
    mean_BV = (above_BV + below_BV) / 2
    delta_BV = (above_BV - below_BV) / (2 * epsilon)
    return Scores(mean_BV, delta_BV), caches

  return Scorer(score, caches)


def shuffled(key: Key, delta_BV: Array) -> Array:
  """Each row with its tokens in random order and with random signs."""
  noise_BV = jax.random.normal(key, delta_BV.shape)
  # The order of sizes and the signs of a normal are independent.
  order_BV = jnp.argsort(jnp.abs(noise_BV), axis=-1)
  mixed_BV = jnp.take_along_axis(delta_BV, order_BV, axis=-1)
  return jnp.sign(noise_BV) * mixed_BV


def permuted(scorer: Scorer, key: Key) -> Scorer:
  """The paper's control: Delta shuffled over the tokens, with random signs.

  Anew for every text and token, so that its size is kept and nothing else.
  """

  def score(tokens_BT, memory):
    step, inner = memory
    scores, inner = scorer.next(tokens_BT, inner)
    step_key = jax.random.fold_in(key, step)
    delta_BV = shuffled(step_key, scores.delta_BV)
    return scores._replace(delta_BV=delta_BV), (step + 1, inner)

  return Scorer(score, (jnp.zeros((), jnp.int32), scorer.memory))


def delta(logits_BV: Array, scores: Scores) -> Array:
  """The penalty of antidistillation."""
  del logits_BV
  return scores.delta_BV


def product_of_experts(logits_BV: Array, scores: Scores) -> Array:
  """The penalty that leads to the proxy itself: at weight 1 it is drawn from.

  At weight w, from `p_teacher^(1 - w) p_proxy^w`: a control without gradients.
  """
  return scores.log_probs_BV - jax.nn.log_softmax(logits_BV)


def penalize(
  scorer: Scorer,
  weight: float | Array,
  penalty: Callable[[Array, Scores], Array] = delta,
) -> Transform:
  """Adds `weight * penalty(logits_BV, scores)` to the logits.

  At weight 0 the logits are returned bit for bit.

  Args:
    scorer: the proxy, with memory for the texts that are drawn.
    weight: lambda.
    penalty: what of the scores is added.

  Raises:
    ValueError: as it is traced, if the proxy's vocabulary is not the teacher's.
  """

  def apply(logits_BV, state):
    scores, memory = scorer.next(state.tokens_BT, state.memory)
    check_vocabulary(logits_BV, scores.log_probs_BV)
    more_BV = weight * penalty(logits_BV, scores)
    changes_BV = (weight != 0) & jnp.isfinite(logits_BV)
    logits_BV = jnp.where(changes_BV, logits_BV + more_BV, logits_BV)
    return logits_BV, state._replace(memory=memory)

  return Transform(apply, scorer.memory)


def paper_order(tau: float | Array, penalty: Transform) -> list[Transform]:
  """`logits / tau + lambda Delta`: for `generate` at temperature 1.

  The same as `generate(..., temperature=tau, transforms=[penalty])`.
  """
  return [transforms.temperature(tau), penalty]


def hugging_face_order(
  tau: float | Array, penalty: Transform
) -> list[Transform]:
  """`(logits + lambda Delta) / tau`: for `generate` at temperature 1.

  What the paper's code does, as `transformers` calls a logits processor before
  the temperature: the lambda of the paper is the one given, over tau.
  """
  return [penalty, transforms.temperature(tau)]


def harm(
  log_probs_fn: Callable[[Params], Array], params: Params, gradient: Params
) -> Array:
  """By how much a step on each trace raises the loss behind `gradient`, `[N]`.

  Args:
    log_probs_fn: `params -> [N]`, the log-probability of each trace.
    params: of a student.
    gradient: of its loss on clean traces.
  """
  return directions.derivative(log_probs_fn, params, gradient)[1]


def attacker_weights(harm_N: Array, beta: float | Array) -> Array:
  """Weights of traces for a student that defends itself, of mean 1.

  `exp(-beta harm)` with harm in standard deviations from its mean: the
  adaptive attacker of https://arxiv.org/abs/2605.22737.
  """
  standard_N = (harm_N - harm_N.mean()) / (harm_N.std() + 1e-12)
  return len(harm_N) * jax.nn.softmax(-beta * standard_N)


def check_vocabulary(logits_BV: Array, log_probs_BV: Array) -> None:
  """Raises a ValueError where teacher and proxy have other vocabularies."""
  V, proxy = logits_BV.shape[-1], log_probs_BV.shape[-1]
  if V != proxy:
    raise ValueError(
      f"a proxy with a vocabulary of {proxy} tokens cannot score a teacher's "
      f"{V}: both must share one tokenizer"
    )


def _log_probs(logits_BTV):
  return jax.nn.log_softmax(logits_BTV[:, -1].astype(jnp.float32))


def _split(tree):
  """The tree with its floats alone, which have derivatives, and the rest."""
  is_float = lambda x: jnp.issubdtype(jnp.result_type(x), jnp.inexact)
  floats = jax.tree.map(lambda x: x if is_float(x) else None, tree)
  return floats, jax.tree.map(lambda x: None if is_float(x) else x, tree)


def _joined(floats, others):
  return jax.tree.map(
    lambda x, y: y if x is None else x,
    floats,
    others,
    is_leaf=lambda x: x is None,
  )
