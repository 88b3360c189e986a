"""Low-rank changes in the names, shapes and settings of PEFT's files.

PEFT (https://github.com/huggingface/peft) saves an adapter as
`adapter_model.safetensors`, tensors by name, and `adapter_config.json`. Here
are the tensors and the settings; files are for the caller. Kernels are
`[d_in, d_out]`, PEFT's weights `[out, in]`:

  base_model.model.<module>.lora_A.weight            [r, in]    left^T
  base_model.model.<module>.lora_B.weight            [out, r]   right
  base_model.model.<module>.lora_magnitude_vector    [out]      magnitude

All that is a product of two thin matrices is plain LoRA to PEFT, exactly and at
its own rank; so is a finished SingLoRA, whose factors are parts of one matrix.
"""

import collections
from collections.abc import Iterator, Mapping, Sequence
import re
from typing import Any, NamedTuple

import jax.numpy as jnp

from simplex.types import Array

PREFIX = "base_model.model."
# By the fields of `Factors`.
SUFFIXES = {
  "left": ".lora_A.weight",
  "right": ".lora_B.weight",
  "magnitude": ".lora_magnitude_vector",
}
# Where the tensors of a kernel are: one module, or one for each of a stack.
Modules = Mapping[str, str | Sequence[str]]


class Factors(NamedTuple):
  """The change `left @ right^T` of one kernel, with its scale.

  Attributes:
    left: `[..., d_in, r]`.
    right: `[..., d_out, r]`.
    magnitude: `[..., d_out]`, norms of the columns as in DoRA, or None.
  """

  left: Array
  right: Array
  magnitude: Array | None = None


def dotted(path: str) -> str:
  """The module of a kernel by the path alone: "params/a/b/kernel" is "a.b"."""
  return re.sub(r"^params/|/kernel$", "", path).replace("/", ".")


def to_peft(
  factors: Mapping[str, Factors], modules: Modules
) -> tuple[dict[str, Array], dict[str, Any]]:
  """Tensors and settings of a PEFT LoRA that makes the same changes.

  Args:
    factors: by path, scale and ramp included: `adapter.factors(...)`.
    modules: by path, PEFT's dotted names of modules.

  Returns:
    The tensors by name; the settings, as `adapter_config.json` has them. Their
    scale is 1, `lora_alpha = r`, since the tensors include it.

  Raises:
    ValueError: nothing to write, a path without a module, a stack with another
      number of modules, or magnitudes in some changes only.
  """
  changes = dict(_unstacked(factors, modules))
  if not changes:
    raise ValueError("factors={} has no change to write")
  with_magnitude = {m for m, f in changes.items() if f.magnitude is not None}
  if with_magnitude and len(with_magnitude) < len(changes):
    raise ValueError(
      "PEFT has magnitudes in all changes or in none, and here are "
      f"{sorted(with_magnitude)} with and "
      f"{sorted(set(changes) - with_magnitude)} without"
    )
  tensors = {}
  for module, f in changes.items():
    parts = f._asdict() | {"left": f.left.T}
    for field, x in parts.items():
      if x is not None:
        tensors[PREFIX + module + SUFFIXES[field]] = x
  ranks = {module: f.left.shape[-1] for module, f in changes.items()}
  return tensors, _settings(ranks, bool(with_magnitude))


def from_peft(
  tensors: Mapping[str, Array], config: Mapping[str, Any], modules: Modules
) -> dict[str, Factors]:
  """The changes that a PEFT LoRA makes, by the paths of our kernels.

  Args:
    tensors: of `adapter_model.safetensors`.
    config: of `adapter_config.json`: `peft_type`, `r`, `lora_alpha`,
      `rank_pattern`, `alpha_pattern` and `use_rslora` count.
    modules: of all kernels that may be changed; those without tensors are left
      out of the result.

  Returns:
    The factors, with the scale in `right`. As `lora.LowRank(left, right)` they
    can be trained further, by a `lora` with alpha = r.

  Raises:
    ValueError: it is no LoRA, there is no tensor, or tensors are unknown,
      missing or of wrong shapes; lists all of them.
  """
  if config.get("peft_type") != "LORA":
    raise ValueError(f"peft_type={config.get('peft_type')!r} is not 'LORA'")
  if not tensors:
    raise ValueError("tensors={} has no change to read")
  names = {m: path for path in modules for m in _listed(modules[path])}
  found, problems = _sorted_by_module(tensors, names)
  paths = dict.fromkeys(names[module] for module in found)
  wanted = [m for path in paths for m in _listed(modules[path])]
  for module in wanted:
    parts, rank = found.get(module, {}), _rank(config, module)
    problems += _problems(module, parts, rank, config.get("use_dora", False))
  if problems:
    raise ValueError("tensors do not fit: " + "; ".join(problems))
  changes = {m: _factors(found[m], _scale(config, m)) for m in wanted}
  return {path: _stacked(changes, modules[path]) for path in paths}


def _unstacked(
  factors: Mapping[str, Factors], modules: Modules
) -> Iterator[tuple[str, Factors]]:
  """Every module and its own change, without leading axes."""
  for path, f in factors.items():
    if path not in modules:
      raise ValueError(f"{path!r} has no module among {sorted(modules)}")
    names, shape = modules[path], f.left.shape
    alone = isinstance(names, str)
    if (
      len(shape) != (2 if alone else 3) or not alone and len(names) != shape[0]
    ):
      raise ValueError(
        f"{path!r} has left.shape={shape}, not a matrix for each of "
        f"modules={names!r}"
      )
    for i, name in enumerate(_listed(names)):
      yield name, Factors(*(x if alone or x is None else x[i] for x in f))


def _stacked(changes, names):
  if isinstance(names, str):
    return changes[names]
  columns = zip(*(changes[name] for name in names), strict=True)
  return Factors(*(None if xs[0] is None else jnp.stack(xs) for xs in columns))


def _listed(names):
  return [names] if isinstance(names, str) else list(names)


def _settings(ranks, use_dora):
  r = collections.Counter(ranks.values()).most_common(1)[0][0]
  others = {module: rank for module, rank in ranks.items() if rank != r}
  return {
    "peft_type": "LORA",
    "task_type": None,
    "base_model_name_or_path": None,
    "inference_mode": True,
    "r": r,
    "lora_alpha": r,
    "rank_pattern": others,
    "alpha_pattern": others,
    "use_rslora": False,
    "use_dora": use_dora,
    "lora_dropout": 0.0,
    "bias": "none",
    "fan_in_fan_out": False,
    "modules_to_save": None,
    "target_modules": sorted(ranks),
  }


def _sorted_by_module(tensors, known):
  """`{module: {field: tensor}}`, and what to say of tensors that fit none."""
  found = collections.defaultdict(dict)
  unknown = []
  for name, x in tensors.items():
    for field, suffix in SUFFIXES.items():
      module = name.removeprefix(PREFIX).removesuffix(suffix)
      if name == PREFIX + module + suffix and module in known:
        found[module][field] = x
        break
    else:
      unknown.append(f"{name!r} is of no known module")
  return found, unknown


def _problems(module, parts, rank, use_dora):
  """What is wrong with the tensors of a module, a sentence each."""
  shapes = {"left": (rank, None), "right": (None, rank)}
  if use_dora:
    shapes["magnitude"] = (None,)
  for field in dict.fromkeys([*shapes, *parts]):
    name = PREFIX + module + SUFFIXES[field]
    if field not in shapes:
      yield f"{name!r} is not expected, with use_dora={use_dora}"
    elif field not in parts:
      yield f"{name!r} is missing"
    elif not _fits(parts[field].shape, shapes[field]):
      shape = parts[field].shape
      yield f"{name!r} has {shape=}, not {shapes[field]}"


def _fits(shape, wanted):
  return len(shape) == len(wanted) and all(
    want in (None, size) for size, want in zip(shape, wanted, strict=True)
  )


def _factors(parts, scale):
  return Factors(
    parts["left"].T, scale * parts["right"], parts.get("magnitude")
  )


def _scale(config, module):
  rank = _rank(config, module)
  alpha = _first(config.get("alpha_pattern"), module, config["lora_alpha"])
  return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _rank(config, module):
  return _first(config.get("rank_pattern"), module, config["r"])


def _first(patterns, module, otherwise):
  """The entry whose pattern matches the end of the name, as in PEFT."""
  for pattern, value in (patterns or {}).items():
    if re.match(rf"(.*\.)?({pattern})$", module):
      return value
  return otherwise
