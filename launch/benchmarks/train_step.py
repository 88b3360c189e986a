"""A training step: width 128, 4 layers, 4 heads, batch 16, context 512.

The peer is the same model in plain PyTorch, written for this comparison, with
post-norm blocks as in Bloem 2025 (https://arxiv.org/abs/2506.20057) and torch's
own fused attention. Both do relu feed-forward layers, AdamW and a clip of the
gradient norm.
"""

import importlib.util

import jax
import jax.numpy as jnp
import optax

from launch import timing
from simplex.models import transformer

BATCH, CONTEXT = 16, 512
VOCAB, WIDTH, LAYERS, HEADS = 256, 128, 4, 4
CONFIG = transformer.Config(
  vocab_size=VOCAB,
  width=WIDTH,
  num_layers=LAYERS,
  num_heads=HEADS,
  feed_forward="relu",
)


def run() -> list[dict]:
  """Rows with the seconds of a step, tokens a second, and ours over theirs."""
  fns = {"simplex": jax_step(CONFIG)}
  missing = None
  if importlib.util.find_spec("torch"):
    fns["torch"] = torch_step()
  else:
    missing = {"name": "train_step/torch", "missing": "torch is not installed"}
  seconds = timing.medians(fns)
  rows = [
    {
      "name": f"train_step/{name}",
      "seconds": s,
      "tokens_per_second": BATCH * CONTEXT / s,
      "ratio": seconds.get("torch", s) / s,
    }
    for name, s in seconds.items()
  ]
  return rows + [missing] * (missing is not None)


def jax_step(config: transformer.Config):
  """A function that makes one training step of our transformer."""
  model = transformer.Transformer(config)
  init_key, tokens_key = jax.random.split(jax.random.key(0))
  shape = (BATCH, CONTEXT + 1)
  tokens = jax.random.randint(tokens_key, shape, 0, config.vocab_size)
  inputs_BT, targets_BT = tokens[:, :-1], tokens[:, 1:]
  tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(3e-4))

  def loss(params):
    logits_BTV = model.apply(params, inputs_BT)
    return optax.softmax_cross_entropy_with_integer_labels(
      logits_BTV, targets_BT
    ).mean()

  def step(params, opt_state):
    grads = jax.grad(loss)(params)
    updates, opt_state = tx.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), opt_state

  step = jax.jit(step, donate_argnums=(0, 1))
  params = jax.jit(model.init)(init_key, jnp.zeros_like(inputs_BT))
  state = [params, tx.init(params)]

  def call():
    state[:] = step(*state)
    return state

  return call


def torch_step():
  """A function that makes one training step of the peer."""
  import torch
  from torch import nn
  from torch.nn import functional

  class Block(nn.Module):
    def __init__(self):
      super().__init__()
      self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
      self.out = nn.Linear(WIDTH, WIDTH)
      self.up = nn.Linear(WIDTH, 4 * WIDTH)
      self.down = nn.Linear(4 * WIDTH, WIDTH)
      self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))

    def forward(self, x):
      q, k, v = self.qkv(x).unflatten(-1, (3 * HEADS, -1)).chunk(3, dim=2)
      heads = [y.transpose(1, 2) for y in (q, k, v)]
      y = functional.scaled_dot_product_attention(*heads, is_causal=True)
      x = self.norms[0](x + self.out(y.transpose(1, 2).flatten(2)))
      return self.norms[1](x + self.down(functional.relu(self.up(x))))

  torch.manual_seed(0)
  tokens = nn.Embedding(VOCAB, WIDTH)
  positions = nn.Parameter(0.02 * torch.randn(CONTEXT, WIDTH))
  blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
  head = nn.Linear(WIDTH, VOCAB)
  params = [positions]
  for module in (tokens, blocks, head):
    params += module.parameters()
  optimizer = torch.optim.AdamW(params, lr=3e-4)
  batch = torch.randint(VOCAB, (BATCH, CONTEXT + 1))

  def call():
    optimizer.zero_grad()
    logits = head(blocks(tokens(batch[:, :-1]) + positions))
    functional.cross_entropy(
      logits.flatten(0, 1), batch[:, 1:].flatten()
    ).backward()
    nn.utils.clip_grad_norm_(params, 1.0)
    optimizer.step()

  return call
