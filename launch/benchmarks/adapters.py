"""A training step of adapters: width 256, 4 layers, 4 heads, batch 8 x 128.

Every linear map of the layers is adapted, by LoRA of rank 8 and SingLoRA of
rank 12, which have equal parameters; DoRA has its magnitudes in addition.
"formed" is the same SingLoRA by its merged kernels, as public ports have it:
its product is formed in every step, and gradients as large as the kernels.
"all parameters" is training without an adapter. The steps take turns.
"""

from collections.abc import Callable
import functools

import jax
import optax

from launch import timing
from simplex.adapters import adapter, dora, lora, singlora, targets
from simplex.losses import tokens
from simplex.models import projected, transformer
from simplex.types import Array, Params

BATCH, CONTEXT = 8, 128
CONFIG = transformer.Config(width=256)
TARGETS = targets.Config((r".*layer_.*kernel",), rank=8, alpha=8.0)
WIDER = targets.Config(TARGETS.patterns, rank=12, alpha=12.0)
NUM_STEPS = 1000
ADAPTERS = {
  "lora": lora.lora(TARGETS),
  "singlora": singlora.singlora(WIDER, NUM_STEPS),
  "dora": dora.dora(lora.lora(TARGETS)),
}


def run() -> list[dict]:
  """Rows with times, temporary memory, and both over those of LoRA."""
  tokens_BT = jax.random.randint(
    jax.random.key(0), (BATCH, CONTEXT), 0, CONFIG.vocab_size
  )
  net = transformer.Transformer(CONFIG)
  base = jax.jit(net.init)(jax.random.key(1), tokens_BT)
  steps = {
    name: step(functools.partial(thin, net, one), one.init, base, tokens_BT)
    for name, one in ADAPTERS.items()
  }
  one = ADAPTERS["singlora"]
  steps["singlora, formed"] = step(
    functools.partial(formed, net, one), one.init, base, tokens_BT
  )
  steps["all parameters"] = step(
    lambda base, tree, tokens_BT: net.apply(tree, tokens_BT),
    lambda key, base: base,
    base,
    tokens_BT,
  )
  seconds = timing.medians({name: call for name, (call, *_) in steps.items()})
  _, _, least = steps["lora"]
  return [
    {
      "name": f"adapters/{name}",
      "parameters": count,
      "seconds": seconds[name],
      "over LoRA": seconds[name] / seconds["lora"],
      "temporary MiB": memory / 2**20,
      "memory over LoRA": memory / least,
    }
    for name, (_, count, memory) in steps.items()
  ]


def thin(net, one: adapter.Adapter, base: Params, tree, tokens_BT: Array):
  """Logits by thin products, as adapters are trained here."""
  return projected.apply(
    net,
    base,
    tokens_BT,
    project=adapter.project,
    changes=one.factors(base, tree, NUM_STEPS),
  )


def formed(net, one: adapter.Adapter, base: Params, tree, tokens_BT: Array):
  """Logits by the changed kernels."""
  return net.apply(one.merge(base, tree, NUM_STEPS), tokens_BT)


def step(
  logits_fn: Callable[..., Array], init, base: Params, tokens_BT: Array
) -> tuple[Callable[[], Params], int, int]:
  """A call of one AdamW step, the parameters it trains, its temporary bytes."""
  tree = init(jax.random.key(2), base)
  tx = optax.adamw(1e-3)

  def loss(tree, base):
    logits_BTV = logits_fn(base, tree, tokens_BT[:, :-1])
    return tokens.nll(logits_BTV, tokens_BT[:, 1:]).mean()

  def update(tree, opt_state, base):
    grads = jax.grad(loss)(tree, base)
    updates, opt_state = tx.update(grads, opt_state, tree)
    return optax.apply_updates(tree, updates), opt_state

  arguments = tree, tx.init(tree), base
  compiled = jax.jit(update).lower(*arguments).compile()
  memory = compiled.memory_analysis().temp_size_in_bytes
  call = functools.partial(compiled, *arguments)
  return call, adapter.count(tree), memory
