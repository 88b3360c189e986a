"""A family of models: its tensors, and its `config.json` as fields of ours."""

from collections.abc import Callable, Iterable, Mapping
import re
from typing import Any, NamedTuple

from simplex.interop.tensors import Module

Settings = Mapping[str, Any]  # what a `config.json` holds
Fields = Mapping[str, Any]  # of `transformer.Config`


class Rule(NamedTuple):
  """What takes more than another name.

  Attributes:
    read: the fields, from the settings.
    write: the settings, from all fields.
  """

  read: Callable[[Settings], Fields]
  write: Callable[[Fields], Settings]


class Family(NamedTuple):
  """Everything that is known of an architecture.

  Attributes:
    model_type: its name in the settings.
    table: its modules.
    prefix: of their names, which the files of bare models leave out.
    unused: what names of tensors without a parameter are like.
    names: of fields, and of the settings that say the same.
    defaults: of settings that may be absent.
    allowed: values of settings, without which it is another model; the first
      is the default.
    constants: fields that are the same in all of its models.
    rules: for the others.
  """

  model_type: str
  table: Mapping[str, Module]
  prefix: str
  unused: re.Pattern
  names: Mapping[str, str]
  defaults: Settings
  allowed: Mapping[str, tuple]
  constants: Fields
  rules: tuple[Rule, ...] = ()


def fields(family: Family, settings: Settings) -> dict[str, Any]:
  """The fields of a config that its settings tell.

  Raises:
    ValueError: settings are missing, or of another kind of model; lists them.
  """
  settings = {**family.defaults, **settings}
  require(settings, family.names.values())
  odd = [
    f"{name}={settings[name]!r} is not one of {list(values)}"
    for name, values in family.allowed.items()
    if settings.get(name, values[0]) not in values
  ]
  if settings.get("quantization_config"):
    odd.append("quantization_config: quantised tensors cannot be read")
  if odd:
    raise ValueError("; ".join(odd))
  found = {ours: settings[theirs] for ours, theirs in family.names.items()}
  for rule in family.rules:
    found |= rule.read(settings)
  return {**family.constants, **found}


def settings(
  architecture: str, family: Family, fields: Fields
) -> dict[str, Any]:
  """The inverse of `fields`; what the family cannot express is left out."""
  found = {
    "architectures": [architecture],
    "model_type": family.model_type,
    **{name: values[0] for name, values in family.allowed.items()},
    **{theirs: fields[ours] for ours, theirs in family.names.items()},
  }
  for rule in family.rules:
    found |= rule.write(fields)
  return found


def full_name(family: Family, name: str) -> str:
  """The name of a tensor with the prefix, if it has left it out."""
  whole = name.startswith((family.prefix, "lm_head."))
  return name if whole else family.prefix + name


def require(settings: Settings, names: Iterable[str]) -> None:
  """Raises a ValueError that lists all of the settings that are missing."""
  if missing := [name for name in names if name not in settings]:
    raise ValueError(f"missing settings: {missing}")
