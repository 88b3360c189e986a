"""Changing fields of nested frozen dataclasses from the command line."""

import ast
from collections.abc import Mapping, Sequence
import dataclasses
import difflib
import types
import typing
from typing import Any


def apply(config: Any, overrides: Sequence[str]) -> Any:
  """Returns `config` with each `dotted.path=value` replaced.

  Args:
    config: a frozen dataclass, whose fields may be such dataclasses.
    overrides: later ones win. Tuples are written `a,b`, no value `none`.

  Raises:
    ValueError: the path names no field, or the value is not allowed; the
      message names the nearest fields, the type and the allowed values.
  """
  values = {}
  fields = flatten(config)
  for override in overrides:
    path, equals, text = override.partition("=")
    try:
      if not equals:
        raise ValueError("write it as path=value")
      if path not in fields:
        raise ValueError(_no_field(path, list(fields)))
      values[path] = parse(text, _type(config, path))
    except ValueError as error:
      raise ValueError(f"--set={override}: {error}") from error
  try:
    return _replace(config, values)  # at once: fields may have to agree
  except ValueError as error:
    given = " ".join(f"--set={override}" for override in overrides)
    raise ValueError(f"{given}: {error}") from error


def flatten(config: Any) -> dict[str, Any]:
  """Returns the leaves of a nested dataclass by dotted path."""
  return {name: value for name, _, value in _leaves(config)}


def pace(config: Any) -> set[str]:
  """Leaves that say how far one process goes, not what the run finds.

  Their fields have `metadata={"pace": True}`; a run may continue with others.
  """
  return {
    name for name, field, _ in _leaves(config) if "pace" in field.metadata
  }


def _leaves(config, prefix=""):
  for field in dataclasses.fields(config):
    value, name = getattr(config, field.name), prefix + field.name
    if dataclasses.is_dataclass(value):
      yield from _leaves(value, f"{name}.")
    else:
      yield name, field, value


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[str]:
  """Returns a line for each leaf that differs between two flat configs."""
  absent = "(absent)"
  return [
    f"{name}: {old.get(name, absent)!r} there, {new.get(name, absent)!r} here"
    for name in sorted(old.keys() | new.keys())
    if old.get(name, absent) != new.get(name, absent)
  ]


def restore(config: Any, leaves: Mapping[str, Any]) -> Any:
  """The config of the same kind whose flat form, read from JSON, is `leaves`.

  Raises:
    ValueError: a field is missing or unknown, or a value is not allowed.
  """
  fields = flatten(config).keys()
  missing, unknown = fields - leaves.keys(), leaves.keys() - fields
  if missing or unknown:
    raise ValueError(
      f"missing fields: {sorted(missing)}, unknown fields: {sorted(unknown)}"
    )
  return _replace(config, {name: _frozen(x) for name, x in leaves.items()})


def _frozen(value: Any) -> Any:
  """Lists are how JSON writes tuples."""
  return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _no_field(path: str, names: Sequence[str]) -> str:
  inside = [name for name in names if name.startswith(path + ".")]
  if inside:
    return f"{path} has fields, set one of them: {', '.join(inside)}"
  last = path.rpartition(".")[2]
  near = difflib.get_close_matches(path, names, n=3, cutoff=0.5)
  near += [name for name in names if name.rpartition(".")[2] == last]
  listed = ", ".join(dict.fromkeys(near or names))
  return f"there is no field {path!r}; did you mean one of: {listed}"


def _type(config: Any, path: str) -> Any:
  *parents, name = path.split(".")
  for parent in parents:
    config = getattr(config, parent)
  return typing.get_type_hints(type(config))[name]


def _replace(config: Any, values: Mapping[str, Any]) -> Any:
  """Sets the leaves in `values`, each dataclass built once."""
  changes = {name: value for name, value in values.items() if "." not in name}
  for name in {path.partition(".")[0] for path in values} - changes.keys():
    inside = {
      path.removeprefix(f"{name}."): value
      for path, value in values.items()
      if path.startswith(f"{name}.")
    }
    changes[name] = _replace(getattr(config, name), inside)
  return dataclasses.replace(config, **changes)


def parse(text: str, kind: Any) -> Any:
  """Reads a value of the annotated type `kind`.

  Raises:
    ValueError: it is not one; the message says what is.
  """
  origin, args = typing.get_origin(kind), typing.get_args(kind)
  if origin in (typing.Union, types.UnionType):
    if text.lower() == "none" and type(None) in args:
      return None
    (kind,) = (arg for arg in args if arg is not type(None))
    return parse(text, kind)
  if origin is typing.Literal:
    if text not in args:
      raise ValueError(f"{text!r} is not one of {list(args)}")
    return text
  if origin is tuple:
    items = text.strip("()[] ").split(",")
    return tuple(parse(x.strip(), args[0]) for x in items if x.strip())
  if kind is str:
    return text
  return _literal(text, kind)


def _literal(text: str, kind: type) -> Any:
  """Reads a bool, an int or a float; an int may stand for a float."""
  words = {"true": "True", "false": "False"}
  try:
    value = ast.literal_eval(words.get(text.lower(), text))
  except (ValueError, SyntaxError):
    value = text
  if kind is int and isinstance(value, float) and value.is_integer():
    value = int(value)  # 1e6
  if kind is float and type(value) is int:
    value = float(value)
  if type(value) is not kind:
    allowed = "true or false" if kind is bool else kind.__name__
    raise ValueError(f"{text!r} is not allowed, the type is: {allowed}")
  return value
