"""Decoder-only transformer with an exchangeable token mixer."""

import dataclasses
from typing import Any

from flax import linen as nn
import jax
import jax.numpy as jnp

from simplex.models import cached, checks, layers, mixers
from simplex.types import Array, Params

DTYPES = ("bfloat16", "float16", "float32")
# Of each layer or stack, by its name in the parameters; under "positions", that
# of the next token of each text, where they are learned.
Caches = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Config:
  """Sizes and choices of a transformer.

  Attributes:
    vocab_size: V, the number of tokens.
    width: E; without a `head_width`, a multiple of `num_heads`.
    num_layers: L.
    num_heads: H.
    num_key_heads: G, which divides H; None is H.
    head_width: D; None is E / H.
    mixer: a key of `mixers.MIXERS`.
    mixer_every: n; every n-th layer, from layer n - 1 on, has the mixer, the
      others have "softmax".
    mixer_switches: fields of the mixer that are to be True, such as "rotary" or
      "zero_output".
    windows: of the mixer, in keys: one number, two of a simplicial mixer; empty
      is all of the past.
    prune: of a mixer that forgets; see `kernels.forgetting_attention`.
    implementation: of the mixer's op; None is the best for the device.
    rotary_base: of mixers that turn by positions; None is that of the mixer.
    rotary_stretch: (factor, low, high, length) of `layers.stretched`; empty is
      none.
    num_positions: how many have a learned embedding, which is added to that of
      the token; None has no such embeddings. No text may be longer: one that
      outgrows them in pieces has logits of NaN.
    norm: a key of `layers.NORMS`.
    norm_epsilon: what norms add to the variance.
    biases: names of the projections that have one, of `mixers.PROJECTIONS` and
      `layers.projections`.
    feed_forward: a key of `layers.FEED_FORWARDS`.
    feed_forward_width: F, the hidden width of the feed-forward layers; None is
      4 E.
    init_std: of all initial kernels and embeddings; None is the inverse square
      root of their fan-in, which `mup_base_width` needs.
    tie_embeddings: whether the embedding is the output layer too.
    scan_layers: the layers as one scanned layer with stacked parameters, so
      that depth costs no compile time; see `stack_layers`.
    dtype: of the activations; parameters and logits are float32.
    gated_from: layers from this index on add their output times a learned
      scalar that starts at 0 (progressive depth, Bloem 2025,
      https://arxiv.org/abs/2506.20057); None gates no layer.
    mup_base_width: not None asks for muP (Yang et al. 2022,
      https://arxiv.org/abs/2203.03466): attention logits are scaled by 1/D,
      embeddings start at 1 and the output layer at 1/E. The base width itself
      is for the optimiser, which scales the learning rate of matrices by
      `mup_base_width / width`.
  """

  vocab_size: int = 256
  width: int = 128
  num_layers: int = 4
  num_heads: int = 4
  num_key_heads: int | None = None
  head_width: int | None = None
  mixer: str = "softmax"
  mixer_every: int = 1
  mixer_switches: tuple[str, ...] = ()
  windows: tuple[int, ...] = ()
  prune: str | None = None
  implementation: str | None = None
  rotary_base: float | None = None
  rotary_stretch: tuple[float, ...] = ()
  num_positions: int | None = None
  norm: str = "rms"
  norm_epsilon: float = 1e-6
  biases: tuple[str, ...] = ()
  feed_forward: str = "gelu"
  feed_forward_width: int | None = None
  init_std: float | None = None
  tie_embeddings: bool = False
  scan_layers: bool = False
  dtype: str = "float32"
  gated_from: int | None = None
  mup_base_width: int | None = None

  def __post_init__(self):
    checks.sizes(self)
    checks.one_of(self, "feed_forward", layers.FEED_FORWARDS)
    checks.one_of(self, "norm", layers.NORMS)
    checks.one_of(self, "dtype", DTYPES)
    checks.biases(self)
    checks.stretch(self)
    _mixer(self, self.mixer_every - 1)  # or says why
    checks.windows(self)
    checks.init(self)
    if self.scan_layers:  # scanned in groups of mixer_every
      checks.multiple(self, "num_layers", "mixer_every")
      if self.gated_from is not None:
        checks.multiple(self, "gated_from", "mixer_every")


class Transformer(nn.Module):
  """Maps `tokens_BT`, in [0, V), to float32 `logits_BTV`.

  The last hidden states, after the last norm, are sown as "hidden" into the
  collection "intermediates".

  `active_layers`, an integer that may be traced, enables the gated layers of
  index below it; None enables all. A gated layer that is not enabled is the
  identity, and no gradient reaches it.
  """

  config: Config

  def __call__(
    self, tokens_BT: Array, *, active_layers: Array | None = None
  ) -> Array:
    logits_BTV, _ = self._read(tokens_BT, active_layers, {})
    return logits_BTV

  def init_cache(
    self, batch_size: int, length: int, padding_B: Array | None = None
  ) -> Caches:
    """The caches of texts that have not begun; they need no parameters.

    Args:
      batch_size: B.
      length: how many tokens a later one can see in a layer, at most.
      padding_B: how many of the first tokens of each text are padding, for
        prompts of different length; None is 0.
    """
    cfg = self.config
    caches = lambda num_layers: {
      f"layer_{i}": _mixer(cfg, i).init_cache(
        batch_size, length, cfg.width, padding_B
      )
      for i in range(num_layers)
    }
    positions = _first_positions(cfg, batch_size, length, padding_B)
    if not cfg.scan_layers:
      return positions | caches(cfg.num_layers)
    group = caches(cfg.mixer_every)
    stack = lambda n: jax.tree.map(
      lambda x: jnp.broadcast_to(x, (n, *x.shape)), group
    )
    return positions | {
      name: stack(len(some) // cfg.mixer_every)
      for name, some in _stacks(cfg).items()
    }

  def extend(self, tokens_BT: Array, caches: Caches) -> tuple[Array, Caches]:
    """The logits of the next T tokens, and the caches after them.

    Chunks, one after another, have the logits of `__call__` over the whole,
    if the caches are as long. The logits of padding mean nothing.
    """
    return self._read(tokens_BT, None, caches)

  @nn.compact
  def _read(self, tokens_BT, active_layers, caches):
    cfg = self.config
    embed = nn.Embed(
      cfg.vocab_size,
      cfg.width,
      dtype=cfg.dtype,
      embedding_init=nn.initializers.normal(_embedding_std(cfg)),
      name="embed",
    )
    x_BTE, next_B = self._place(embed(tokens_BT), caches.get("positions"))
    x_BTE, caches = self._layers(x_BTE, active_layers, caches)
    if next_B is not None:
      caches["positions"] = next_B
    x_BTE = _norm(cfg, "norm")(x_BTE)
    self.sow("intermediates", "hidden", x_BTE)
    if cfg.tie_embeddings:
      scale = 1 if cfg.mup_base_width is None else 1 / cfg.width
      return embed.attend(x_BTE * scale).astype(jnp.float32), caches
    head = nn.Dense(
      cfg.vocab_size,
      use_bias=False,
      dtype=cfg.dtype,
      kernel_init=nn.initializers.normal(_head_std(cfg)),
      name="head",
    )
    return head(x_BTE).astype(jnp.float32), caches

  def _place(self, x_BTE, next_B):
    """Adds learned positions, if there are any; and which comes next."""
    cfg, T = self.config, x_BTE.shape[1]
    if cfg.num_positions is None:
      return x_BTE, None
    checks.length(cfg, T)
    if next_B is None:
      next_B = jnp.zeros(1, jnp.int32)
    place = nn.Embed(
      cfg.num_positions,
      cfg.width,
      dtype=cfg.dtype,
      embedding_init=nn.initializers.normal(_embedding_std(cfg)),
      name="positions",
    )
    at_BT = jnp.maximum(next_B[:, None] + jnp.arange(T), 0)
    return x_BTE + place(at_BT), next_B + T

  def _layers(self, x_BTE, active_layers, caches):
    cfg = self.config
    on_L = jnp.ones(cfg.num_layers, bool)
    if active_layers is not None:
      on_L = jnp.arange(cfg.num_layers) < active_layers
    after = {}
    if not cfg.scan_layers:
      for i in range(cfg.num_layers):
        name, gated = f"layer_{i}", i >= _first_gated(cfg)
        layer = Layer(cfg, _mixer(cfg, i), gated, name=name)
        x_BTE, after[name] = layer(x_BTE, on_L[i], caches.get(name))
      return x_BTE, after
    for name, some in _stacks(cfg).items():
      on = on_L[some.start : some.stop].reshape(-1, cfg.mixer_every)
      scanned = nn.scan(
        Group,
        variable_axes={"params": 0, "intermediates": 0, "changes": 0},
        split_rngs={"params": True},
        length=len(on),
      )(cfg, gated=name == STACKS[1], name=name)
      x_BTE, after[name] = scanned(x_BTE, on, caches.get(name, {}))
    return x_BTE, after


class Group(nn.Module):
  """As many layers as it takes until their mixers repeat."""

  config: Config
  gated: bool

  @nn.compact
  def __call__(
    self, x_BTE: Array, on: Array, caches: Caches
  ) -> tuple[Array, Caches]:
    after = {}
    for i in range(self.config.mixer_every):
      name, mixer = f"layer_{i}", _mixer(self.config, i)
      layer = Layer(self.config, mixer, self.gated, name=name)
      x_BTE, after[name] = layer(x_BTE, on[i], caches.get(name))
    return x_BTE, after


class Layer(nn.Module):
  """Pre-norm residual layer: a token mixer, then a feed-forward network."""

  config: Config
  mixer: nn.Module
  gated: bool

  @nn.compact
  def __call__(
    self, x_BTE: Array, on: Array, cache: cached.Cache | None
  ) -> tuple[Array, cached.Cache | None]:
    cfg = self.config
    feed_forward = layers.FeedForward(
      cfg.feed_forward_width or 4 * cfg.width,
      activation=cfg.feed_forward,
      biases=cfg.biases,
      init_std=cfg.init_std,
      dtype=cfg.dtype,
      name="feed_forward",
    )
    mixed_BTE, cache = self._mix(_norm(cfg, "mixer_norm")(x_BTE), cache)
    y_BTE = x_BTE + mixed_BTE
    y_BTE += feed_forward(_norm(cfg, "feed_forward_norm")(y_BTE))
    if not self.gated:
      return y_BTE, cache
    gate = self.param("gate", nn.initializers.zeros, ())
    # What the layer adds, not its output: without norms after the residual
    # sums, x + gate * output would count x twice.
    return x_BTE + (gate * on).astype(x_BTE.dtype) * (y_BTE - x_BTE), cache

  def _mix(self, x_BTE, cache):
    """Without a cache, the text is whole."""
    if cache is not None:
      return self.mixer.extend(x_BTE, cache)
    return self.mixer(x_BTE, jnp.arange(x_BTE.shape[1])[None]), None


STACKS = ("layers", "gated_layers")


def stack_layers(params: Params, config: Config) -> Params:
  """Parameters for `scan_layers=True` from those for `scan_layers=False`."""
  params = dict(params["params"])
  n = config.mixer_every
  groups = [
    {f"layer_{i}": params.pop(f"layer_{first + i}") for i in range(n)}
    for first in range(0, config.num_layers, n)
  ]
  for name, some in _stacks(config).items():
    part = groups[some.start // n : some.stop // n]
    params[name] = jax.tree.map(lambda *xs: jnp.stack(xs), *part)
  return {"params": params}


def _mixer(cfg, layer):
  """The mixer of a layer, a module yet without parameters."""
  shared = dict(
    num_heads=cfg.num_heads,
    num_key_heads=cfg.num_key_heads,
    head_width=cfg.head_width,
    biases=tuple(name for name in mixers.PROJECTIONS if name in cfg.biases),
    scale=_logit_scale(cfg),
    init_std=cfg.init_std,
    dtype=cfg.dtype,
  )
  if layer % cfg.mixer_every != cfg.mixer_every - 1:
    return mixers.make("softmax", **shared)
  return mixers.make(
    cfg.mixer,
    switches=cfg.mixer_switches,
    windows=cfg.windows,
    prune=cfg.prune,
    implementation=cfg.implementation,
    rotary_base=cfg.rotary_base,
    rotary_stretch=cfg.rotary_stretch,
    **shared,
  )


def _norm(cfg, name):
  return layers.NORMS[cfg.norm](
    epsilon=cfg.norm_epsilon, dtype=cfg.dtype, name=name
  )


def _first_positions(cfg, batch_size, length, padding_B):
  """A cache of learned positions; those of padding are below 0."""
  if cfg.num_positions is None:
    return {}
  checks.length(cfg, length)
  first_B = jnp.zeros(batch_size, jnp.int32)
  return {"positions": first_B if padding_B is None else first_B - padding_B}


def _stacks(cfg):
  """The layers in each stack of scanned layers that has some."""
  first = _first_gated(cfg)
  parts = range(first), range(first, cfg.num_layers)
  return {name: part for name, part in zip(STACKS, parts, strict=True) if part}


def _first_gated(cfg):
  if cfg.gated_from is None:
    return cfg.num_layers
  return min(cfg.gated_from, cfg.num_layers)


def _logit_scale(cfg):
  if cfg.mup_base_width is None:
    return None
  return 1 / (cfg.head_width or cfg.width // cfg.num_heads)


def _embedding_std(cfg):
  if cfg.init_std is not None:
    return cfg.init_std
  return cfg.width**-0.5 if cfg.mup_base_width is None else 1.0


def _head_std(cfg):
  if cfg.init_std is not None:
    return cfg.init_std
  return cfg.width ** (-0.5 if cfg.mup_base_width is None else -1)
