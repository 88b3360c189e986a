"""How Hugging Face says how far queries and keys turn with their positions."""

from simplex.interop.family import Fields, Rule, Settings, require

BASE = 10_000.0
# The numbers of each kind of scaling, in the order of `layers.stretched`.
KINDS = {
  "default": (),
  "linear": ("factor",),
  "llama3": (
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
  ),
}
_ALIKE = (0.0, 1.0, 0.0)  # low, high and length that slow all alike


def _read(settings: Settings) -> Fields:
  """The newer "rope_parameters", or "rope_theta" beside "rope_scaling"."""
  rope = settings.get("rope_parameters") or settings.get("rope_scaling") or {}
  kind = rope.get("rope_type", rope.get("type", "default"))
  if kind not in KINDS:
    raise ValueError(f"rope_type={kind!r} is not one of {list(KINDS)}")
  require(rope, KINDS[kind])
  numbers = tuple(float(rope[name]) for name in KINDS[kind])
  base = rope.get("rope_theta", settings.get("rope_theta", BASE))
  return {
    "rotary_base": float(base),
    "rotary_stretch": numbers + _ALIKE if kind == "linear" else numbers,
  }


def _write(fields: Fields) -> Settings:
  """In both forms: readers of the newer one do not know the older."""
  stretch = fields["rotary_stretch"]
  kind = "llama3" if stretch else "default"
  if stretch[1:] == _ALIKE:
    kind = "linear"
  scaling = {"rope_type": kind}
  scaling |= dict(zip(KINDS[kind], stretch, strict=False))
  if kind == "llama3":
    scaling[KINDS[kind][-1]] = int(stretch[-1])
  base = fields["rotary_base"] or BASE
  return {
    "rope_theta": base,
    "rope_scaling": scaling if stretch else None,
    "rope_parameters": {**scaling, "rope_theta": base},
  }


RULE = Rule(_read, _write)
