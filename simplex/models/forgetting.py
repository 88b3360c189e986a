"""The token mixer of the Forgetting Transformer, and its controls."""

from flax import linen as nn
import jax
import jax.numpy as jnp

from simplex import kernels
from simplex.kernels.forgetting_attention import decode
from simplex.models import cached, layers
from simplex.types import Array, Params

# The switches that make a FoX block a FoX-Pro block.
PRO = (
  "shift_keys",
  "shift_values",
  "normalize",
  "normalize_output",
  "gate_output",
)


class ForgettingMixer(cached.CachedMixer):
  """Softmax attention with a forget gate (FoX, Lin et al. 2025).

  https://arxiv.org/abs/2503.02130; with all switches of `PRO` it is the mixer
  of FoX (Pro), with the gate "none" and `rotary` as well that of Transformer
  (Pro). Head h multiplies what it has seen before token t by the gate

    f_t = sigmoid(w_h . x_t + b_h)

  The queries and keys that the op gets are sown as "query_and_keys", and the
  logs of the gates, `[B, T, H]`, as "log_gates" into "intermediates".

  Attributes:
    num_heads: H; divides the width, unless `head_width` is given.
    num_key_heads: G, which divides H; None is H.
    scale: factor of the logits; None is `1 / sqrt(D)`.
    gate: "full" as above; "bias" has w = 0, and "fixed" moreover a b that is
      not learned, both with `1 / -log f` from 2 to 256 tokens, spaced evenly in
      its logarithm over the heads; "none" has f = 1.
    reach: the shortest and the longest of these.
    rotary: whether queries and keys turn with their positions.
    rotary_base: of that; see `layers.rotary`.
    shift_keys: whether a key is `a_t k_{t-1} + (1 - a_t) k_t`, with k the
      projections of the tokens (0 before the first) and `a_t` the sigmoid of a
      projection of token t to one number for each key head.
    shift_values: the same for values.
    normalize: whether queries and (shifted) keys are divided by their root
      mean square, with learned gains for each channel of each head.
    normalize_output: the same for the output of every head.
    gate_output: whether the output is then multiplied by the sigmoid of a
      projection of the input.
    windows: of the keys, one number; empty is all.
    prune: of keys that are forgotten, as in `kernels.forgetting_attention`.
    head_width: D; None is E / H.
    num_queries: how many of the last positions read the others, which are then
      all that is returned; None is all.
    implementation: of the op; None is the best for the device.
    init_std: of the initial kernels, 0.02 in the paper; None is
      `1 / sqrt(fan-in)`.
    dtype: of the activations; parameters and gates are float32.
  """

  num_heads: int
  num_key_heads: int | None = None
  scale: float | None = None
  gate: str = "full"
  reach: tuple[float, float] = (2.0, 256.0)
  rotary: bool = False
  rotary_base: float = 10_000.0
  shift_keys: bool = False
  shift_values: bool = False
  normalize: bool = False
  normalize_output: bool = False
  gate_output: bool = False
  windows: tuple[int, ...] = ()
  prune: float | str | None = None
  head_width: int | None = None
  num_queries: int | None = None
  implementation: str | None = None
  init_std: float | None = None
  dtype: str = "float32"

  def __post_init__(self):
    if self.gate not in GATES:
      raise ValueError(f"gate={self.gate!r} is not one of {sorted(GATES)}")
    low, high = self.reach
    if not 0 < low <= high:
      raise ValueError(f"reach={self.reach} is not 0 < low <= high")
    super().__post_init__()

  @nn.compact
  def _mix(self, x_BTE, positions_BT, segments_BT, cache):
    q_BTHD = layers.heads(
      self, layers.last(self, x_BTE), self.num_heads, "query"
    )
    k_BTGD, key = self._keys(x_BTE, segments_BT, cache.key_B1GD, "key")
    v_BTGD, value = self._keys(x_BTE, segments_BT, cache.value_B1GD, "value")
    if self.normalize:
      q_BTHD = self._norm(q_BTHD, 1e-5, "query_norm")
      k_BTGD = self._norm(k_BTGD, 1e-5, "key_norm")
    if self.rotary:
      last_BT = layers.last(self, positions_BT)
      q_BTHD = layers.rotary(q_BTHD, last_BT, self.rotary_base)
      k_BTGD = layers.rotary(k_BTGD, positions_BT, self.rotary_base)
    log_f_BTH = GATES[self.gate](self, x_BTE)
    self.sow("intermediates", "query_and_keys", (q_BTHD, k_BTGD))
    self.sow("intermediates", "log_gates", log_f_BTH)
    y_BTHD, attention = self._attend(
      (q_BTHD, k_BTGD, v_BTGD, log_f_BTH), segments_BT, cache.attention
    )
    return self._out(x_BTE, y_BTHD), cached.Cache(attention, key, value)

  def _keys(self, x_BTE, segments_BT, before_B1GD, name):
    """Keys or values, and the newest before the shift."""
    G = self.num_key_heads or self.num_heads
    k_BTGD = layers.heads(self, x_BTE, G, name)
    newest_B1GD = cached.newest(k_BTGD, segments_BT)
    if not getattr(self, f"shift_{name}s"):
      return k_BTGD, newest_B1GD
    logits_BTG = layers.dense(self, G, f"{name}_shift")(x_BTE)
    share_BTG = jax.nn.sigmoid(logits_BTG.astype(jnp.float32))
    shifted_BTGD = cached.shift(k_BTGD, share_BTG, before_B1GD, segments_BT)
    return shifted_BTGD, newest_B1GD

  def _attend(self, arrays, segments_BT, cache):
    if cache is not None:
      return decode.extend(cache, *arrays, scale=self.scale)
    y_BTHD = kernels.forgetting_attention(
      *arrays,
      scale=self.scale,
      window=self.windows[0] if self.windows else None,
      segments_BS=segments_BT,
      prune=self.prune,
      implementation=self.implementation,
    )
    return y_BTHD, None

  def _out(self, x_BTE, y_BTHD):
    if self.normalize_output:
      y_BTHD = self._norm(y_BTHD, 1e-6, "out_norm")
    if self.gate_output:
      x_BQE = layers.last(self, x_BTE)
      gate_BTHD = layers.heads(self, x_BQE, self.num_heads, "out_gate")
      y_BTHD *= jax.nn.sigmoid(gate_BTHD)
    return layers.merge(self, y_BTHD, x_BTE.shape[-1], self.init_std)

  def _norm(self, x_BTHD, epsilon, name):
    norm = nn.RMSNorm(
      epsilon=epsilon, feature_axes=(-2, -1), dtype=self.dtype, name=name
    )
    return norm(x_BTHD)


def reach(mixer: ForgettingMixer) -> Array:
  """Tokens until a constant gate has forgotten all but 1 / e, for each head."""
  low, high = mixer.reach
  return jnp.geomspace(low, high, mixer.num_heads, dtype=jnp.float32)


def logit_bound(params: Params, scale: float | None = None) -> Array:
  """U: no logit of a head of a mixer with `normalize` is larger, `[H]`.

  Queries and keys of D channels and gains g are at most `sqrt(D) max |g|` long,
  whatever is to come, so that keys can be evicted; see `decode.live`.

  Args:
    params: of the mixer, with "query_norm" and "key_norm".
    scale: factor of the logits; None is `1 / sqrt(D)`.
  """
  query_HD, key_GD = (params[f"{x}_norm"]["scale"] for x in ("query", "key"))
  (H, D), G = query_HD.shape, key_GD.shape[0]
  query_H, key_G = jnp.abs(query_HD).max(-1), jnp.abs(key_GD).max(-1)
  scale = D**-0.5 if scale is None else scale
  return abs(scale) * D * query_H * jnp.repeat(key_G, H // G)


def _full(mixer, x_BTE):
  dense = nn.Dense(
    mixer.num_heads,
    dtype=mixer.dtype,
    kernel_init=layers.initializer(mixer.init_std),
    name="forget",
  )
  return jax.nn.log_sigmoid(dense(x_BTE).astype(jnp.float32))


def _bias(mixer, x_BTE):
  init = lambda key: -jnp.log(jnp.expm1(1 / reach(mixer)))
  log_f_H = jax.nn.log_sigmoid(mixer.param("forget_bias", init))
  return jnp.broadcast_to(log_f_H, (*x_BTE.shape[:2], mixer.num_heads))


def _fixed(mixer, x_BTE):
  return jnp.broadcast_to(
    -1 / reach(mixer), (*x_BTE.shape[:2], mixer.num_heads)
  )


def _none(mixer, x_BTE):
  return jnp.zeros((*x_BTE.shape[:2], mixer.num_heads), jnp.float32)


# The logs of the gates, `[B, T, H]`, from a mixer and its input.
GATES = {"full": _full, "bias": _bias, "fixed": _fixed, "none": _none}
