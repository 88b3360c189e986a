"""What is wrong with the fields of a model's config, one `ValueError` each."""

from collections.abc import Collection
from typing import Any

from simplex.models import layers, mixers

# Fields that are None or at least 1.
SIZES = (
  "vocab_size",
  "width",
  "num_heads",
  "num_key_heads",
  "head_width",
  "mixer_every",
  "num_positions",
  "feed_forward_width",
  "mup_base_width",
)


def sizes(cfg: Any) -> None:
  for name in SIZES:
    at_least(cfg, name, 1)
  at_least(cfg, "num_layers", 0)
  at_least(cfg, "gated_from", 0)
  if cfg.head_width is None:
    multiple(cfg, "width", "num_heads")
  multiple(cfg, "num_heads", "num_key_heads")


def length(cfg: Any, num_tokens: int) -> None:
  if num_tokens > cfg.num_positions:
    raise ValueError(
      f"{num_tokens} tokens are more than num_positions={cfg.num_positions}"
    )


def at_least(cfg: Any, name: str, least: int) -> None:
  value = getattr(cfg, name)
  if value is not None and value < least:
    raise ValueError(f"{name}={value} is not at least {least}")


def multiple(cfg: Any, name: str, of: str) -> None:
  value, divisor = getattr(cfg, name), getattr(cfg, of)
  if divisor is not None and value % divisor:
    raise ValueError(f"{name}={value} is not a multiple of {of}={divisor}")


def one_of(cfg: Any, name: str, allowed: Collection[str]) -> None:
  value = getattr(cfg, name)
  if value not in allowed:
    raise ValueError(f"{name}={value!r} is not one of {sorted(allowed)}")


def biases(cfg: Any) -> None:
  """Each is the name of a projection that there is."""
  known = (*mixers.PROJECTIONS, *layers.projections(cfg.feed_forward))
  for name in cfg.biases:
    if name not in known:
      raise ValueError(f"biases={cfg.biases}: {name!r} is not one of {known}")


def stretch(cfg: Any) -> None:
  """It is what `layers.stretched` takes."""
  if not cfg.rotary_stretch:
    return
  match cfg.rotary_stretch:
    case (factor, low, high, tokens) if (
      factor > 0 and 0 <= low < high and tokens >= 0
    ):
      return
  raise ValueError(
    f"rotary_stretch={cfg.rotary_stretch} is neither empty nor (factor, low, "
    "high, length) with factor > 0, 0 <= low < high and length >= 0"
  )


def windows(cfg: Any) -> None:
  """As many as the mixer has key axes."""
  number = 2 if mixers.is_simplicial(cfg.mixer) else 1
  if (
    cfg.windows
    and len(cfg.windows) != number
    or min(cfg.windows, default=1) < 1
  ):
    raise ValueError(
      f"windows={cfg.windows} is neither empty nor {number} of at least 1, "
      f"which mixer={cfg.mixer!r} takes"
    )


def init(cfg: Any) -> None:
  """Only one field says how large parameters start."""
  if cfg.init_std is None:
    return
  if cfg.init_std <= 0:
    raise ValueError(f"init_std={cfg.init_std} is not above 0")
  if cfg.mup_base_width is not None:
    raise ValueError(
      f"init_std={cfg.init_std} and mup_base_width={cfg.mup_base_width} both "
      "say how large parameters start: one must be None"
    )
