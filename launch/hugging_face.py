"""Models of Hugging Face as ours, and ours as theirs.

config, params = hugging_face.load("folder")
model = transformer.Transformer(config)
logits_BTV = model.apply(params, tokens_BT)
"""

from collections.abc import Callable
import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp

from launch import overrides
from simplex.adapters import paths
from simplex.interop import families, family, peft, rotary, tensors
from simplex.models import transformer
from simplex.types import Params
from trainers import pretrained

# Fields of a config that do not change the function that it stands for.
FREE = ("dtype", "implementation", "init_std", "scan_layers")
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"


def load(
  folder: str | os.PathLike,
  *,
  dtype: str | None = None,
  sharding: Callable[[str], jax.sharding.Sharding] | None = None,
  **changes: Any,
) -> tuple[transformer.Config, Params]:
  """The config and the parameters of a model, checked before any is read.

  Tensors are read one by one, by each device its own part.

  Args:
    folder: with `config.json`, and `model.safetensors` or its index.
    dtype: of the parameters; None is that of the file.
    sharding: where a parameter goes, from its path; None is the first device.
    **changes: of the config's fields, such as `scan_layers=True`.

  Raises:
    ValueError: the architecture is not known, or the files do not fit it; says
      which are known, or all that does not fit.
  """
  settings = pretrained.read_settings(folder)
  try:
    kind = families.find(settings)
    config = transformer.Config(**family.fields(kind, settings))
  except ValueError as error:
    raise ValueError(f"{folder}/{pretrained.CONFIG}: {error}") from error
  config = dataclasses.replace(config, **changes)
  like = shapes(config)
  leaves = paths.flatten(like)
  where = tensors.slots(kind.table, leaves, config.num_layers)
  found = {
    family.full_name(kind, name): x
    for name, x in pretrained.open_tensors(folder).items()
  }
  try:
    tensors.check(tensors.shapes(where, leaves), found, kind.unused.fullmatch)
  except ValueError as error:
    raise ValueError(f"{folder}: {error}") from error
  values = {
    path: pretrained.place(
      leaves[path],
      functools.partial(tensors.read, where[path], found),
      dtype or found[_first(where[path]).name].dtype,
      sharding and sharding(path),
    )
    for path in leaves
  }
  return config, paths.place(like, values)


def save(
  folder: str | os.PathLike,
  architecture: str,
  config: transformer.Config,
  params: Params,
  *,
  max_file_bytes: int = pretrained.MAX_FILE_BYTES,
) -> None:
  """Writes a model as one of Hugging Face, whole or not at all.

  Args:
    folder: does not exist, or is empty.
    architecture: a key of `families.FAMILIES`.
    config: of the model.
    params: its parameters.
    max_file_bytes: of a file of tensors.

  Raises:
    ValueError: the architecture is not known or is another function than the
      config's, or the folder holds something.
  """
  kind = families.find({"architectures": [architecture]})
  settings = _settings(architecture, kind, config)
  leaves = paths.flatten(params)
  where = tensors.slots(kind.table, leaves, config.num_layers)
  sources = tensors.sources(where)
  like = {
    name: jax.ShapeDtypeStruct(shape, leaves[sources[name][0].path].dtype)
    for name, shape in tensors.shapes(where, leaves).items()
  }
  pretrained.write(
    folder,
    settings,
    like,
    lambda name: tensors.write(sources[name], leaves),
    max_file_bytes=max_file_bytes,
  )


def shapes(config: transformer.Config) -> Params:
  """The parameters of a model, as shapes alone."""
  model = transformer.Transformer(config)
  tokens_BT = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  return jax.eval_shape(model.init, jax.random.key(0), tokens_BT)


def adapter_modules(
  architecture: str, config: transformer.Config
) -> peft.Modules:
  """The modules of a model that PEFT can change, by our kernels' paths."""
  kind = families.find({"architectures": [architecture]})
  leaves = paths.flatten(shapes(config))
  return tensors.modules(tensors.slots(kind.table, leaves, config.num_layers))


def load_adapter(
  folder: str | os.PathLike, modules: peft.Modules
) -> dict[str, peft.Factors]:
  """The changes in a folder of PEFT's; see `peft.from_peft`."""
  settings = pretrained.read_settings(folder, ADAPTER_CONFIG)
  found = pretrained.open_tensors(folder, ADAPTER)
  return peft.from_peft(
    {name: jnp.array(x) for name, x in found.items()}, settings, modules
  )


def save_adapter(
  folder: str | os.PathLike,
  factors: dict[str, peft.Factors],
  modules: peft.Modules,
) -> None:
  """Writes changes as a folder of PEFT's; see `peft.to_peft`."""
  found, settings = peft.to_peft(factors, modules)
  pretrained.write(
    folder,
    settings,
    found,
    found.__getitem__,
    settings_name=ADAPTER_CONFIG,
    tensors_name=ADAPTER,
  )


def _first(where):
  return where if isinstance(where, tensors.Slot) else where[0]


def _settings(architecture, kind, config):
  """The settings, if they mean the config."""
  mine = _explicit(config)
  settings = family.settings(architecture, kind, dataclasses.asdict(mine))
  again = _explicit(transformer.Config(**family.fields(kind, settings)))
  again = dataclasses.replace(again, **{x: getattr(mine, x) for x in FREE})
  changes = overrides.difference(
    overrides.flatten(again), overrides.flatten(mine)
  )
  if changes:
    raise ValueError(f"{architecture} is another model: {'; '.join(changes)}")
  return settings


def _explicit(config):
  """The same config with its defaults written out."""
  return dataclasses.replace(
    config,
    num_key_heads=config.num_key_heads or config.num_heads,
    head_width=config.head_width or config.width // config.num_heads,
    feed_forward_width=config.feed_forward_width or 4 * config.width,
    rotary_base=config.rotary_base or rotary.BASE,
    biases=tuple(sorted(config.biases)),
  )
