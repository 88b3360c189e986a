"""Antidistillation: its time over that of plain sampling.

The default byte model (width 128, 4 layers, 4 heads) writes 128 bytes after 16
prompts of 128; the proxy is as large as the teacher. The exact derivative and
the paper's finite difference, in one run: 3.5 and 3.0 times the time on two
cores. Exact, each product of the proxy becomes three (x W, dx W and x dW), so
four forward passes are the most and, where reading W is what costs, three the
least. To make x W and dx W rows of one product was tried: slower on a CPU.
"""

import functools

import jax

from launch import timing
from simplex.models import transformer
from simplex.sampling import antidistillation, decode, directions

BATCH, PROMPT, NEW = 16, 128, 128
CONFIG = transformer.Config()
SCORERS = {
  "plain": None,
  "exact": antidistillation.exact,
  "finite difference": functools.partial(
    antidistillation.central, epsilon=1e-2
  ),
}


def run() -> list[dict]:
  """Rows with seconds, tokens in a second, and the ratio to plain sampling."""
  model = transformer.Transformer(CONFIG)
  prompt_BT = jax.random.randint(
    jax.random.key(0), (BATCH, PROMPT), 0, CONFIG.vocab_size
  )
  init = jax.jit(model.init)
  teacher, proxy = (init(jax.random.key(i), prompt_BT) for i in (1, 2))
  direction = directions.normalized(
    directions.random_like(jax.random.key(3), proxy)
  )
  fns = {
    name: functools.partial(
      jax.jit(functools.partial(sample, model, scorer)),
      teacher,
      proxy,
      direction,
      prompt_BT,
    )
    for name, scorer in SCORERS.items()
  }
  seconds = timing.medians(fns, rounds=5)
  return [
    {
      "name": f"antidistillation/{name}",
      "seconds": s,
      "tokens_per_second": BATCH * NEW / s,
      "ratio": s / seconds["plain"],
    }
    for name, s in seconds.items()
  ]


def sample(model, scorer, teacher, proxy, direction, prompt_BT):
  """What the teacher writes, with a penalty where there is a scorer."""
  B, T = prompt_BT.shape
  extend = functools.partial(model.apply, method="extend")
  caches = model.init_cache(B, T + NEW)
  transforms = []
  if scorer is not None:
    scores = scorer(extend, proxy, direction, caches)
    transforms = [antidistillation.penalize(scores, 1.0)]
  return decode.generate(
    functools.partial(extend, teacher),
    caches,
    prompt_BT,
    jax.random.key(4),
    num_tokens=NEW,
    transforms=transforms,
  )
