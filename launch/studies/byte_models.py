"""Small language models on bytes, in which one layer has another mixer."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from launch import texts
from simplex.analysis import compression
from simplex.data import text
from simplex.losses import tokens
from simplex.models import transformer
from simplex.types import Source
from trainers import optimizers, progress, scan
from trainers.problem import Problem


@dataclasses.dataclass(frozen=True)
class Config:
  """Bytes of a bundled text, on which one layer's mixer is exchanged.

  `wider` is the width of the models without a 2-simplicial layer, which makes
  up for the two projections that they lack.
  """

  corpus: str = "prose"
  model: transformer.Config = transformer.Config(
    width=64,
    num_layers=2,
    num_heads=2,
    mixer="simplicial",
    mixer_every=2,
    windows=(4, 32),
    tie_embeddings=True,
  )
  wider: int = 66
  local_window: int = 32
  context: int = 64
  batch_size: int = 16
  num_steps: int = 200
  eval_every: int = 50
  eval_windows: int = 64
  num_seeds: int = 3
  optimizer: optimizers.Config = optimizers.Config(
    learning_rate=3e-3, warmup_steps=20
  )


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    model=dataclasses.replace(
      Config().model,
      width=16,
      num_layers=1,
      mixer_every=1,
      windows=(2, 4),
    ),
    wider=16,
    local_window=4,
    context=8,
    batch_size=4,
    num_steps=2,
    eval_every=1,
    eval_windows=4,
    num_seeds=2,
  )


def paper() -> Config:
  """A dense model of about the paper's smallest active size, for a pod.

  The paper has mixtures of experts of 1 B to 3.5 B active parameters, every
  fourth layer 2-simplicial with windows (512, 32) and 64 query heads to a key
  head (AdamW, peak 4e-3, decay 0.0125, 4000 warm-up steps, cosine); its data
  and its number of tokens are not published.
  """
  width = 2048
  return Config(
    model=transformer.Config(
      width=width,
      num_layers=20,
      num_heads=64,
      num_key_heads=1,
      mixer="simplicial",
      mixer_every=4,
      windows=(512, 32),
      feed_forward="swiglu",
      scan_layers=True,
      dtype="bfloat16",
    ),
    wider=width,
    local_window=512,
    context=8192,
    batch_size=512,
    num_steps=100_000,
    eval_every=5000,
    eval_windows=2048,
    optimizer=optimizers.Config(
      learning_rate=4e-3, warmup_steps=4000, weight_decay=0.0125
    ),
  )


def train(
  cfg: Config, seed: int
) -> tuple[np.ndarray, dict[str, tuple[int, np.ndarray]]]:
  """Held-out bits per byte while training, for each mixer of one layer.

  Returns:
    The steps of the evaluations; mixer ("simplicial", "dot_product", "local")
    to the number of parameters and the bits, `[seeds, evals]`.
  """
  parts = texts.load(texts.Config(), cfg.context + 1)[cfg.corpus]
  held_out_NS = text.windows(parts.test, cfg.eval_windows, cfg.context + 1)
  source = text.source(parts.train, cfg.batch_size, cfg.context)
  tx = optimizers.make(cfg.optimizer, cfg.num_steps)
  keys = jax.random.split(jax.random.key(seed), cfg.num_seeds)

  def one(fitted, key):
    _, _, evals = scan.fit(
      fitted, tx, key, cfg.num_steps, eval_every=cfg.eval_every
    )
    return evals["held_out/bits"]

  found = {}
  for name, model in models(cfg).items():
    progress.show(f"language model, {name}, {cfg.num_seeds} seeds")
    fitted = problem(model, source, held_out_NS)
    shapes = jax.eval_shape(fitted.init, keys[0])
    count = sum(x.size for x in jax.tree.leaves(shapes))
    found[name] = count, scan.sweep(functools.partial(one, fitted), keys)
  return np.arange(0, cfg.num_steps + 1, cfg.eval_every), found


def models(cfg: Config) -> dict[str, transformer.Config]:
  """The models by mixer, of about equal parameters."""
  wider = dataclasses.replace(
    cfg.model, width=cfg.wider, mixer="softmax", windows=()
  )
  local = dataclasses.replace(wider, windows=(cfg.local_window,))
  return {"simplicial": cfg.model, "dot_product": wider, "local": local}


def problem(
  model: transformer.Config,
  source: Source,
  held_out_NS: np.ndarray | None = None,
) -> Problem:
  """Next-byte prediction, and the bits of held-out windows where there are."""
  net = transformer.Transformer(model)

  def loss(params, batch, *, key, step):
    del key, step
    logits_BTV = net.apply(params, batch["tokens"])
    return tokens.next_token(logits_BTV, batch["targets"])

  def held_out(params, key):
    del key
    logits_fn = functools.partial(net.apply, params)
    return {"bits": compression.bits(logits_fn, held_out_NS).mean()}

  init = lambda key: net.init(key, jnp.zeros((1, 1), jnp.int32))
  evals = {} if held_out_NS is None else {"held_out": held_out}
  return Problem(init, loss, source, evals)
