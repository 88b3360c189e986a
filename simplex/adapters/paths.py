"""Parameters by their paths, such as "params/layer_0/query/kernel"."""

from collections.abc import Iterable, Mapping
import difflib

import jax

from simplex.types import Array, Params


def flatten(tree: Params) -> dict[str, Array]:
  """All leaves of a tree, by their paths."""
  leaves = jax.tree.leaves_with_path(tree)
  return {_name(path): leaf for path, leaf in leaves}


def pick(tree: Params, wanted: Iterable[str]) -> dict[str, Array]:
  """The leaves at these paths, in their order.

  Raises:
    ValueError: the tree has no such path; lists the nearest ones.
  """
  leaves = flatten(tree)
  for path in wanted:
    if path not in leaves:
      raise ValueError(f"no parameter is at {path!r}: {nearest(path, leaves)}")
  return {path: leaves[path] for path in wanted}


def place(tree: Params, values: Mapping[str, Array]) -> Params:
  """The tree with these leaves in place of its own; the others are shared.

  The inverse of `pick`, so that a merge is undone bit for bit by what was there
  before: `place(merged, pick(base, adapted_paths))` is `base`.

  Raises:
    ValueError: the tree has no such path; lists the nearest ones.
  """
  pick(tree, values)
  return jax.tree.map_with_path(
    lambda path, leaf: values.get(_name(path), leaf), tree
  )


def nearest(path: str, paths: Iterable[str]) -> str:
  """The end of an error message: which of the paths are most like this one."""
  close = difflib.get_close_matches(path, list(paths), n=3, cutoff=0.0)
  return f"the nearest paths are {close}"


def _name(path):
  return jax.tree_util.keystr(path, simple=True, separator="/")
