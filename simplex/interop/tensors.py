"""Where our parameters are in the tensors of other people's checkpoints.

A family of models is a table of its modules (`Module`), by their dotted names
there; `*` is the number of a layer. With the paths of a model's parameters it
becomes one slot for each of ours, which is read both ways: a parameter is cut
out of a tensor, and a tensor is put together from parameters.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

DTYPES = ("bfloat16", "float16", "float32")


class Module(NamedTuple):
  """A module there, and what it is here.

  Attributes:
    paths: of the modules here, whose parameters are equal parts of the last
      axis of its tensors.
    leaves: names of its tensors, and of our parameters.
    is_transposed: whether its matrices are `[out, in]`; ours are `[in, out]`.
  """

  paths: tuple[str, ...]
  leaves: Mapping[str, str]
  is_transposed: bool = False


class Slot(NamedTuple):
  """A parameter as part number `part` of `parts` of the tensor `name`."""

  name: str
  part: int
  parts: int
  is_transposed: bool


class Source(NamedTuple):
  """A parameter, or that of one layer of a stack, and where it is."""

  path: str
  layer: int | None
  slot: Slot


# By path; where layers are stacked, one for each layer.
Slots = Mapping[str, Slot | Sequence[Slot]]


def embedding(path: str) -> Module:
  return Module((path,), {"weight": "embedding"})


def norm(path: str) -> Module:
  return Module((path,), {"weight": "scale", "bias": "bias"})


def linear(path: str) -> Module:
  return Module((path,), {"weight": "kernel", "bias": "bias"}, True)


def conv1d(*paths: str) -> Module:
  """A linear module of GPT-2, whose matrices are as ours; several, fused."""
  return Module(paths, {"weight": "kernel", "bias": "bias"})


def slots(
  table: Mapping[str, Module], paths: Iterable[str], num_layers: int
) -> dict[str, Slot | tuple[Slot, ...]]:
  """The slot of every parameter.

  Args:
    table: of the family.
    paths: of the parameters, "params/layer_0/mixer/query/kernel"; those of
      stacked layers begin with "params/layers/layer_0".
    num_layers: L.

  Raises:
    ValueError: the family has no place for some of the parameters.
  """
  found = {}
  for pattern, slot in _rows(table):
    one_by_one = pattern.replace("layer_*", "layer_{}")
    for i in range(num_layers if "*" in pattern else 1):
      found[one_by_one.format(i)] = _numbered(slot, i)
    stacked = pattern.replace("layer_*", "layers/layer_0")
    if stacked != pattern:
      found[stacked] = tuple(_numbered(slot, i) for i in range(num_layers))
  paths = list(paths)
  if unknown := sorted(set(paths) - set(found)):
    raise ValueError(f"the architecture has no place for {unknown}")
  return {path: found[path] for path in paths}


def sources(where: Slots) -> dict[str, list[Source]]:
  """The parameters that each tensor is made of, in the order of its parts."""
  found = {}
  for source in _each(where):
    parts = found.setdefault(source.slot.name, [None] * source.slot.parts)
    parts[source.slot.part] = source
  return found


def shapes(where: Slots, ours: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
  """The shape of every tensor, from those of our parameters."""
  found = {}
  for path, layer, slot in _each(where):
    *rest, last = ours[path].shape[0 if layer is None else 1 :]
    whole = (*rest, last * slot.parts)
    found[slot.name] = whole[::-1] if slot.is_transposed else whole
  return found


def check(
  expected: Mapping[str, tuple[int, ...]],
  found: Mapping[str, Any],
  is_unused: Callable[[str], Any],
) -> None:
  """Whether a checkpoint has what a model needs, and nothing else.

  Args:
    expected: the shapes of its tensors.
    found: the tensors, by name, which have a shape and a dtype.
    is_unused: of names; whether a tensor may be there without being read.

  Raises:
    ValueError: tensors are missing, unknown, of another shape, or of a dtype
      not in `DTYPES`; lists all of them.
  """
  problems = [f"{x!r} is missing" for x in expected if x not in found]
  for name, x in found.items():
    if name not in expected:
      if not is_unused(name):
        problems.append(f"{name!r} is not expected")
    elif tuple(x.shape) != expected[name]:
      shape = tuple(x.shape)
      problems.append(f"{name!r} has {shape=}, not {expected[name]}")
    elif str(x.dtype) not in DTYPES:
      problems.append(f"{name!r} has dtype={x.dtype}, not one of {DTYPES}")
  if problems:
    raise ValueError("the tensors do not fit: " + "; ".join(problems))


def read(
  where: Slot | Sequence[Slot], tensors: Mapping[str, Any], index: Any = ...
) -> np.ndarray:
  """A parameter, or the part of it at `index`; no more than that is copied.

  Args:
    where: its slot or slots.
    tensors: by name, NumPy's or such as can be sliced like these.
    index: a tuple of a slice for each axis, or `...` for all.
  """
  if isinstance(where, Slot):
    return _cut(where, tensors[where.name])[index]
  layers, *rest = (slice(None), ...) if index is ... else index
  some = [_cut(slot, tensors[slot.name])[*rest] for slot in where[layers]]
  return np.stack(some)


def write(parts: Sequence[Source], params: Mapping[str, Any]) -> np.ndarray:
  """A tensor; the inverse of `read`.

  Args:
    parts: what it is made of, of `sources`.
    params: all parameters, by path.
  """
  arrays = [
    np.asarray(params[path] if layer is None else params[path][layer])
    for path, layer, _ in parts
  ]
  whole = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)
  return whole.T if parts[0].slot.is_transposed else whole


def modules(where: Slots) -> dict[str, str | list[str]]:
  """The modules there of our kernels, as `peft` wants them.

  Those that are fused there are left out.
  """
  found = {}
  for path, several in where.items():
    alone = isinstance(several, Slot)
    some = [several] if alone else several
    if path.endswith("/kernel") and all(slot.parts == 1 for slot in some):
      names = [slot.name.removesuffix(".weight") for slot in some]
      found[path] = names[0] if alone else names
  return found


def _each(where):
  for path, several in where.items():
    if isinstance(several, Slot):
      yield Source(path, None, several)
    else:
      for i, slot in enumerate(several):
        yield Source(path, i, slot)


def _rows(table):
  """Every pattern of paths, and its slot with a pattern for a name."""
  for module, (paths, leaves, is_transposed) in table.items():
    for part, path in enumerate(paths):
      for theirs, ours in leaves.items():
        turned = is_transposed and ours == "kernel"
        slot = Slot(f"{module}.{theirs}", part, len(paths), turned)
        yield f"params/{path}/{ours}", slot


def _numbered(slot, layer):
  return slot._replace(name=slot.name.replace("*", str(layer)))


def _cut(slot, tensor):
  """The part of the tensor in our layout, a view."""
  x = tensor.T if slot.is_transposed else tensor
  width = x.shape[-1] // slot.parts
  return x[..., slot.part * width : (slot.part + 1) * width]
