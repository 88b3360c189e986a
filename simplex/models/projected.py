"""Dense layers that compute what the caller says, such as adapted kernels."""

from collections.abc import Callable, Mapping
from typing import Any

from flax import linen as nn

from simplex.types import Array, Params

COLLECTION = "changes"


def apply(
  model: nn.Module,
  variables: Params,
  *args: Any,
  project: Callable[[Array, Array, Any], Array],
  changes: Mapping[str, Any],
  **kwargs: Any,
) -> Any:
  """`model.apply`, with other products in some of its dense layers.

  With an adapter's thin products no changed kernel is ever formed: `project`
  is `adapter.project` and `changes` are `factors(base, tree, step)`.

  Args:
    model: any flax module; its `nn.Dense` layers can be changed.
    variables: the first argument of `model.apply`.
    *args: the other arguments of `model.apply`.
    project: `(x, kernel, change) -> y`, in place of `x @ kernel`.
    changes: by the path of a kernel, "params/.../kernel", a tree of arrays:
      all that `project` needs there, such as factors and a key for dropout. In
      scanned layers, whose kernels are stacked, these are stacked as well, and
      each layer has its own.
    **kwargs: the keyword arguments of `model.apply`.

  Raises:
    ValueError: no dense layer is at such a path; lists those that there are.
  """
  found = set()

  def intercept(next_fn, args, kwargs, context):
    module = context.module
    if not isinstance(module, nn.Dense):
      return next_fn(*args, **kwargs)
    found.add("/".join(("params", *module.path, "kernel")))
    change = module.get_variable(COLLECTION, "kernel")
    if change is None:
      return next_fn(*args, **kwargs)
    x, kernel, bias = nn.dtypes.promote_dtype(
      *args,
      module.get_variable("params", "kernel"),
      module.get_variable("params", "bias"),
      dtype=module.dtype,
    )
    y = project(x, kernel, change)
    return y if bias is None else y + bias

  with nn.intercept_methods(intercept):
    outputs = model.apply(
      {**variables, COLLECTION: _nested(changes)}, *args, **kwargs
    )
  if unknown := sorted(set(changes) - found):
    raise ValueError(f"changes of {unknown} are not among {sorted(found)}")
  return outputs


def _nested(changes):
  """The changes as a collection: a tree of modules."""
  tree = {}
  for path, change in changes.items():
    node = tree
    for name in path.split("/")[1:-1]:
      node = node.setdefault(name, {})
    node[path.split("/")[-1]] = change
  return tree
