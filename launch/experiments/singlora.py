r"""SingLoRA: a low-rank change from one matrix (Bensaid et al. 2025).

A small language model is pre-trained on prose and tuned to code, with its own
parameters frozen, by LoRA, LoRA+, DoRA and SingLoRA; then the paper's toys and
what its theory says of them. https://arxiv.org/abs/2507.05566

python -m launch.run --experiment=singlora
python -m launch.run --experiment=singlora --set=model_folder=my_llama/ \
    --set=data.paths=my_texts/ --set=corpus=my_texts --workdir=runs/mine

Default: 7 minutes of CPU time, of two cores. Expected, in bits per byte of code
(3.388 before tuning, 2.883 with all parameters): at 9,216 parameters LoRA
2.967, SingLoRA 2.975, LoRA+ 2.980, and DoRA 2.968 with 10,368; SingLoRA at
LoRA's rank 2.989. SingLoRA is not surely worse than LoRA at equal parameters
(0.007 [-0.002, 0.017]), is worse at equal rank (0.021 [0.008, 0.035]), and is
not surely more robust to the rate (0.02 [-0.12, 0.16]). Figure 1's toy:
SingLoRA is 7.9 [6.6, 9.1] decades below LoRA of equal parameters, and LoRA of
equal rank 2.1 [0.9, 3.3] below SingLoRA. A learning rate of c / n converges at
every width, for LoRA too; c n^-1/2 does not. A A^T reaches 26 % of a random
square change.
"""

import dataclasses
import os
from typing import NamedTuple

from absl import app
import jax
import jax.numpy as jnp
import numpy as np

from launch import endings, hugging_face, texts
from launch.findings import singlora as findings, singlora_runs as seen
from launch.studies import adapter_toys as toys, byte_models, tuned_models
from simplex.adapters import adapter, lora, singlora, targets
from simplex.data import text
from simplex.models import transformer
from simplex.types import Params
from trainers import loop, optimizers, progress, tokenizer
from trainers.problem import Problem
from trainers.reports import Report


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on.

  Attributes:
    seed: of all randomness.
    data: texts beside those that ship with Python.
    first: the text to pre-train on, "prose", "code", or the name of a path.
    corpus: the text to tune to.
    model_folder: of a Hugging Face model to tune; empty makes one here, of
      which the next four fields are.
    model: its sizes; `dtype` is that of any model's activations.
    pretrain: how long.
    pretrain_batch: texts in a batch of pre-training.
    pretrain_optimizer: of it.
    context: T, bytes, or tokens of the folder's tokenizer.
    batch_size: B of tuning.
    eval_windows: of held-out text, for choosing and for testing.
    arms: keys of `tuned_models.ARMS`.
    tune: adapters and their training.
    attention: the toy of Figure 1.
    width: the toy of the paper's analysis.
    invariance: of theorems 2 and 3.
    ranks: of one factor, at which it is asked what it can do; even.
    trap_width: n of the initial norms.
    trap_rank: r of the initial norms.
  """

  seed: int = 0
  data: texts.Config = texts.Config()
  first: str = "prose"
  corpus: str = "code"
  model_folder: str = ""
  model: transformer.Config = transformer.Config(
    width=64, num_layers=2, num_heads=4
  )
  pretrain: loop.Config = loop.Config(num_steps=800, log_every=20)
  pretrain_batch: int = 16
  pretrain_optimizer: optimizers.Config = optimizers.Config(
    learning_rate=3e-3, warmup_steps=50
  )
  context: int = 64
  batch_size: int = 8
  eval_windows: int = 128
  arms: tuple[str, ...] = tuple(
    x for x in tuned_models.ARMS if x != "singlora_trap"
  )
  tune: tuned_models.Config = tuned_models.Config()
  attention: toys.Attention = toys.Attention()
  width: toys.Width = toys.Width()
  invariance: toys.Invariance = toys.Invariance()
  ranks: tuple[int, ...] = (2, 4, 6, 8, 16, 32, 64)
  trap_width: int = 768
  trap_rank: int = 8

  def __post_init__(self):
    known = tuned_models.ARMS
    if not self.arms or (unknown := set(self.arms) - known.keys()):
      raise ValueError(
        f"arms={self.arms} must name some of {list(known)}"
        + (f", not {sorted(unknown)}" if self.arms else "")
      )


def tiny() -> Config:
  """Seconds; shows that everything runs."""
  return Config(
    data=texts.Config(max_bytes=20_000),
    model=transformer.Config(width=8, num_layers=1, num_heads=2),
    pretrain=loop.Config(num_steps=2),
    pretrain_batch=4,
    context=8,
    batch_size=4,
    eval_windows=4,
    arms=("lora", "singlora"),
    tune=tuned_models.Config(
      rank=2, num_steps=2, num_seeds=2, rates=(1e-3, 1e-2)
    ),
    attention=toys.Attention(
      width=8, length=4, rank=2, num_steps=4, evals=2, num_seeds=2
    ),
    width=toys.Width(widths=(4,), constants=(0.1,), num_steps=4, num_seeds=2),
    invariance=toys.Invariance(width=6, rank=2, d_ins=(6, 3), num_seeds=2),
    ranks=(2, 4),
    trap_width=16,
    trap_rank=2,
  )


def paper() -> Config:
  """The paper's settings for LLaMA-7B, of which `model_folder` is the folder.

  It describes a run that we have not made. The paper's tasks are classification
  (GLUE), whose data do not ship; this tunes to a text, which
  `--set=data.paths=...` and `--set=corpus=...` name.
  """
  return dataclasses.replace(
    Config(),
    model_folder="models/llama-7b",
    model=transformer.Config(dtype="bfloat16"),
    context=128,
    batch_size=32,
    eval_windows=2048,
    arms=("lora", "lora_plus", "dora", "singlora", "singlora_rank"),
    tune=tuned_models.Config(
      rank=8,
      rates=(5e-5, 1e-4, 2e-4, 4e-4, 1e-3, 2e-3),
      num_steps=12_271,
      optimizer=optimizers.Config(schedule="constant"),
    ),
    attention=toys.Attention(num_seeds=8),
  )


class Model(NamedTuple):
  """A network and its parameters, which are frozen from here on."""

  net: transformer.Transformer
  params: Params


def problem(config: Config) -> Problem:
  """Next-byte prediction on the first text, all parameters trained."""
  source = text.source(
    _parts(config, config.first).train, config.pretrain_batch, config.context
  )
  return byte_models.problem(config.model, source)


def run(config: Config, workdir: str) -> Report:
  """Pre-trains, tunes by every arm at every rate, and plays the toys."""
  with endings.usage_errors():  # of a folder that is no model
    model, data = pretrained(config, workdir), _data(config)
  tuned = {}
  for arm in config.arms:
    progress.show(f"{arm}: {len(config.tune.rates)} rates")
    tuned[arm] = tuned_models.sweep(config.tune, arm, *model, data, config.seed)
  progress.show("toys")
  steps, attention = toys.attention(config.attention, config.seed)
  return findings.report(
    seen.Found(
      first=config.model_folder or f"pre-trained here on {config.first}",
      corpus=config.corpus,
      unit="bits/token" if config.model_folder else "bits/byte",
      vocab_size=model.net.config.vocab_size,
      steps=config.tune.num_steps,
      rates=config.tune.rates,
      untuned=float(tuned_models.bits(*model, data.test)),
      tuned=tuned,
      attention_steps=steps,
      attention=attention,
      width=config.width,
      widths=toys.width(config.width, config.seed),
      invariance=toys.invariance(config.invariance, config.seed),
      ranks=config.ranks,
      gaussian=toys.captured(
        config.model.width, config.ranks, config.tune.num_seeds, config.seed
      ),
      real=_real_shares(config, model, data, tuned),
      norms=toys.initial_norms(
        config.trap_width, config.trap_rank, config.tune.num_seeds, config.seed
      ),
      counts={name: counts(fn()) for name, fn in SHAPES.items()},
    )
  )


def pretrained(config: Config, workdir: str) -> Model:
  """The model to tune: of a folder, or trained on the first text here."""
  if config.model_folder:
    cfg, params = hugging_face.load(config.model_folder, scan_layers=True)
    cfg = dataclasses.replace(cfg, dtype=config.model.dtype)
    return Model(transformer.Transformer(cfg), params)
  fitted = problem(config)
  tx = optimizers.make(config.pretrain_optimizer, config.pretrain.num_steps)
  folder = os.path.join(workdir, "pretrained")
  state = loop.fit(fitted, tx, config.pretrain, folder, seed=config.seed)
  params = jax.tree.map(np.asarray, state.params)
  return Model(transformer.Transformer(config.model), params)


def _parts(config: Config, name: str) -> text.Parts:
  kinds = texts.load(config.data, shortest=config.context + 1)
  if name not in kinds:
    raise app.UsageError(
      f"{name!r} is not one of {sorted(kinds)}; --set=data.paths=... adds "
      "your own"
    )
  return kinds[name]


def _data(config: Config) -> tuned_models.Data:
  """What to tune to, in the model's tokens."""
  parts = _parts(config, config.corpus)
  if config.model_folder:
    encode = tokenizer.load(config.model_folder).encode
    read = lambda part: encode(part.tobytes().decode(errors="replace"))
    parts = text.Parts(*(np.array(read(x), np.int32) for x in parts))
  cut = lambda part: text.windows(part, config.eval_windows, config.context + 1)
  source = text.source(parts.train, config.batch_size, config.context)
  return tuned_models.Data(source, cut(parts.validation), cut(parts.test))


def _real_shares(config, model, data, tuned):
  """How much of full fine-tuning's changes of square kernels is in reach."""
  if "full" not in tuned:
    return None
  rate = config.tune.rates[tuned_models.best(tuned["full"])]
  chosen = targets.Config(config.tune.patterns)

  def measure(change):
    kernels = targets.select(chosen, change).values()
    squares = [
      x.reshape(-1, *x.shape[-2:])
      for x in kernels
      if x.shape[-1] == x.shape[-2]
    ]
    shares = toys.shares(jnp.concatenate(squares), config.ranks)
    return {name: x.mean(-1) for name, x in shares.items()}

  found = tuned_models.changes(
    config.tune, *model, data, rate, config.seed, measure
  )
  return {name: x.T for name, x in found.items()}


def llama_7b() -> dict[str, tuple[int, ...]]:
  """The seven linear maps in each of 32 layers."""
  E, F = 4096, 11_008
  square = dict.fromkeys(("q", "k", "v", "o"), (32, E, E))
  return square | {"gate": (32, E, F), "up": (32, E, F), "down": (32, F, E)}


def gpt2() -> dict[str, tuple[int, ...]]:
  """`c_attn`, `c_proj` and `c_fc` of 12 layers; two are named `c_proj`."""
  E = 768
  maps = {"c_attn": (E, 3 * E), "attention": (E, E)}
  maps |= {"c_fc": (E, 4 * E), "feed_forward": (4 * E, E)}
  return {name: (12, *shape) for name, shape in maps.items()}


SHAPES = {"LLaMA-7B": llama_7b, "GPT-2": gpt2}


def counts(shapes: dict[str, tuple[int, ...]], rank: int = 8):
  """Trainable parameters of LoRA and of SingLoRA."""
  base = {
    name: {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)}
    for name, shape in shapes.items()
  }
  config = targets.Config(rank=rank)
  return tuple(
    adapter.count(jax.eval_shape(one.init, jax.random.key(0), base))
    for one in (lora.lora(config), singlora.singlora(config, 1))
  )
