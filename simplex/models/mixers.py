"""Token mixers: how the positions of a sequence read each other.

A mixer is a module with plain fields, not a transformer's config:
`mixer(x_BTE, positions_BT, segments_BT) -> y_BTE`, causal unless
told otherwise. Every one is a `cached.CachedMixer`: it can also go on where a
text ended.
"""

from collections.abc import Sequence
import dataclasses
import functools

from flax import linen as nn
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels.forgetting_attention import decode
from simplex.kernels.simplicial_attention import decode as simplicial_decode
from simplex.models import cached, forgetting, layers
from simplex.types import Array

# Of "softmax" and its variants.
PROJECTIONS = ("query", "key", "value", "out")


class Softmax(cached.CachedMixer):
  """Multi-head softmax attention.

  Attributes:
    num_heads: H; divides the width, unless `head_width` is given.
    num_key_heads: G, which divides H; None is H.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    rotary: whether queries and keys turn with their positions.
    rotary_base: of that; see `layers.rotary`.
    rotary_stretch: of that, likewise.
    shift_keys: whether a key is the mean of its token's and of the token's
      before it (zero before the first), which spares the model one of the two
      layers that copying what followed the last occurrence takes.
    windows: of the keys, one number; empty is all.
    causal: whether a position sees itself and its past alone.
    head_width: D; None is E / H.
    biases: which of the `PROJECTIONS` have one.
    num_queries: how many of the last positions read the others, which are then
      all that is returned; None is all.
    implementation: of the op; None is the best for the device.
    init_std: of the initial kernels; None is `1 / sqrt(fan-in)`.
    dtype: of the activations; parameters are float32.
  """

  num_heads: int
  num_key_heads: int | None = None
  scale: float | None = None
  rotary: bool = True
  rotary_base: float = 10_000.0
  rotary_stretch: tuple[float, ...] = ()
  shift_keys: bool = False
  windows: tuple[int, ...] = ()
  causal: bool = True
  head_width: int | None = None
  biases: tuple[str, ...] = ()
  num_queries: int | None = None
  implementation: str | None = None
  init_std: float | None = None
  dtype: str = "float32"

  @nn.compact
  def _mix(self, x_BTE, positions_BT, segments_BT, cache):
    G = self.num_key_heads or self.num_heads
    x_BQE = layers.last(self, x_BTE)
    q_BTHD = layers.heads(self, x_BQE, self.num_heads, "query")
    k_BTGD = layers.heads(self, x_BTE, G, "key")
    v_BTGD = layers.heads(self, x_BTE, G, "value")
    newest = [cached.newest(x, segments_BT) for x in (k_BTGD, v_BTGD)]
    if self.shift_keys:
      k_BTGD = cached.shift(k_BTGD, 0.5, cache.key_B1GD, segments_BT)
    if self.rotary:
      last_BT = layers.last(self, positions_BT)
      how = self.rotary_base, self.rotary_stretch
      q_BTHD = layers.rotary(q_BTHD, last_BT, *how)
      k_BTGD = layers.rotary(k_BTGD, positions_BT, *how)
    y_BTHD, attention = self._attend(
      (q_BTHD, k_BTGD, v_BTGD), segments_BT, cache.attention
    )
    y_BTE = layers.merge(self, y_BTHD, x_BTE.shape[-1], self.init_std)
    return y_BTE, cached.Cache(attention, *newest)

  def _attend(self, arrays, segments_BT, cache):
    if cache is not None:  # with gates that forget nothing
      log_f_BTH = jnp.zeros(arrays[0].shape[:3], jnp.float32)
      return decode.extend(cache, *arrays, log_f_BTH, scale=self.scale)
    y_BTHD = kernels.dot_product_attention(
      *arrays,
      scale=self.scale,
      causal=self.causal,
      window=self.windows[0] if self.windows else None,
      segments_BS=segments_BT,
      implementation=self.implementation,
    )
    return y_BTHD, None


class SimplicialMixer(cached.CachedMixer):
  """2-simplicial attention (Roy et al. 2025, https://arxiv.org/abs/2507.02754).

  Positions enter by rotation in the forms that then depend on distances alone:
  "rotary" (queries by twice their position) and "strassen". In the others, the
  windows and the causal mask are all that tells positions apart.

  What the logits are made of, after norms and rotation, is sown as
  "query_and_keys" into the collection "intermediates".

  Attributes:
    num_heads: H; divides the width, unless `head_width` is given.
    num_key_heads: G, which divides H; None is H. The paper has H / G = 64.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    form: of the logits, a key of `forms.FORMS`.
    rotary: whether positions enter, in the forms above.
    normalize: whether queries, keys and the output of every head are divided
      by their root mean square, with learned gains; without, training is
      unstable (Clift et al. 2019, https://arxiv.org/abs/1909.00668).
    normalize_output: False leaves the output out of that, and its size tells.
    zero_output: whether the output projection starts at 0, so that the mixer
      can be added to a trained model.
    windows: (w1, w2) of the two keys; empty is all.
    causal: whether a position sees itself and its past alone.
    head_width: D; None is E / H.
    num_queries: how many of the last positions read the others, which are then
      all that is returned; None is all.
    implementation: of the op; None is the best for the device.
    init_std: of the initial kernels; None is `1 / sqrt(fan-in)`.
    dtype: of the activations; parameters are float32.
  """

  num_heads: int
  num_key_heads: int | None = None
  scale: float | None = None
  form: str = "trilinear"
  rotary: bool = True
  normalize: bool = True
  normalize_output: bool = True
  zero_output: bool = False
  windows: tuple[int, ...] = ()
  causal: bool = True
  head_width: int | None = None
  num_queries: int | None = None
  implementation: str | None = None
  init_std: float | None = None
  dtype: str = "float32"

  def init_cache(
    self,
    batch_size: int,
    length: int,
    width: int,
    padding_B: Array | None = None,
  ) -> cached.Cache:
    """As of every mixer, with a window of each key axis."""
    w1, w2 = self.windows or (length, length)
    windows = min(w1, length), min(w2, length)
    G, D = self._key_shape(width)
    return cached.Cache(
      simplicial_decode.init(batch_size, windows, G, D, self.dtype, padding_B)
    )

  @nn.compact
  def _mix(self, x_BTE, positions_BT, segments_BT, cache):
    heads = functools.partial(layers.heads, self, x_BTE)
    num_key_heads = self.num_key_heads or self.num_heads
    q_BTHD = layers.heads(
      self, layers.last(self, x_BTE), self.num_heads, "query"
    )
    q_BTHD = self._norm(q_BTHD, "query")
    k1_BTGD = self._norm(heads(num_key_heads, "key_1"), "key_1")
    k2_BTGD = self._norm(heads(num_key_heads, "key_2"), "key_2")
    if self.rotary and self.form in TURNS:
      by_query, by_key_1, by_key_2 = TURNS[self.form]
      last_BT = layers.last(self, positions_BT)
      q_BTHD = layers.rotary(q_BTHD, by_query * last_BT)
      k1_BTGD = layers.rotary(k1_BTGD, by_key_1 * positions_BT)
      k2_BTGD = layers.rotary(k2_BTGD, by_key_2 * positions_BT)
    self.sow("intermediates", "query_and_keys", (q_BTHD, k1_BTGD, k2_BTGD))
    y_BTHD, attention = self._attend(
      (
        q_BTHD,
        k1_BTGD,
        heads(num_key_heads, "value_1"),
        k2_BTGD,
        heads(num_key_heads, "value_2"),
      ),
      segments_BT,
      cache.attention,
    )
    if self.normalize_output:
      y_BTHD = self._norm(y_BTHD, "out")
    init_std = 0.0 if self.zero_output else self.init_std
    y_BTE = layers.merge(self, y_BTHD, x_BTE.shape[-1], init_std)
    return y_BTE, cached.Cache(attention)

  def _attend(self, arrays, segments_BT, cache):
    shared = dict(
      form=self.form, scale=self.scale, implementation=self.implementation
    )
    if cache is not None:
      return simplicial_decode.extend(cache, *arrays, **shared)
    y_BTHD = kernels.simplicial_attention(
      *arrays,
      windows=self.windows or (None, None),
      causal=self.causal,
      segments_BS=segments_BT,
      **shared,
    )
    return y_BTHD, None

  def _norm(self, x_BTHD, name):
    if not self.normalize:
      return x_BTHD
    return nn.RMSNorm(dtype=self.dtype, name=f"{name}_norm")(x_BTHD)


# By how much a query and its keys turn, over their positions.
TURNS = {"rotary": (2, 1, 1), "strassen": (1, 1, 1)}


def _simplicial(form):
  return functools.partial(SimplicialMixer, form=form)


_PRO = dict.fromkeys(forgetting.PRO, True)

MIXERS = {
  "softmax": Softmax,
  "nope": functools.partial(Softmax, rotary=False),
  "softmax_shift": functools.partial(Softmax, shift_keys=True),
  "simplicial": _simplicial("trilinear"),
  "simplicial_determinant": _simplicial("determinant"),
  "simplicial_rotary": _simplicial("rotary"),
  "simplicial_strassen": _simplicial("strassen"),
  "forgetting": forgetting.ForgettingMixer,
  "forgetting_independent": functools.partial(
    forgetting.ForgettingMixer, gate="bias"
  ),
  "forgetting_fixed": functools.partial(
    forgetting.ForgettingMixer, gate="fixed"
  ),
  "forgetting_pro": functools.partial(forgetting.ForgettingMixer, **_PRO),
  "softmax_pro": functools.partial(
    forgetting.ForgettingMixer, gate="none", rotary=True, **_PRO
  ),
  "nope_pro": functools.partial(
    forgetting.ForgettingMixer, gate="none", **_PRO
  ),
}


def make(name: str, *, switches: Sequence[str] = (), **fields) -> nn.Module:
  """The mixer of that name, as a module without parameters and parent.

  Args:
    name: a key of `MIXERS`.
    switches: names of fields that are to be True.
    **fields: others; None and () leave the default of the mixer.

  Raises:
    ValueError: there is no such mixer, switch or field; the message says which
      there are.
  """
  if name not in MIXERS:
    raise ValueError(f"mixer={name!r} is not one of {sorted(MIXERS)}")
  mixer = MIXERS[name]
  known = {
    field.name: field.default
    for field in dataclasses.fields(getattr(mixer, "func", mixer))
  }
  on = [field for field, default in known.items() if type(default) is bool]
  for switch in switches:
    if switch not in on:
      raise ValueError(
        f"mixer={name!r} has no switch {switch!r}, it has {sorted(on)}"
      )
  given = {k: x for k, x in fields.items() if x is not None and x != ()}
  for field, value in given.items():
    if field not in known:
      raise ValueError(
        f"mixer={name!r} has no field {field}, which is {value!r}"
      )
  return mixer(**given, **dict.fromkeys(switches, True), parent=None)


def is_simplicial(name: str) -> bool:
  """Whether the mixer of that name has two key axes, and so two windows."""
  return name.startswith("simplicial")
