"""LoRA: a low-rank change from two matrices (Hu et al. 2021).

https://arxiv.org/abs/2106.09685; LoRA+ is Hayou et al. 2024,
https://arxiv.org/abs/2402.12354.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from simplex.adapters import adapter, targets
from simplex.types import Array


class LowRank(NamedTuple):
  """What is trained of one kernel; the rank is the last axis of both.

  Attributes:
    a: `[..., d_in, r]`, the transpose of PEFT's `lora_A.weight`.
    b: `[..., d_out, r]`, PEFT's `lora_B.weight`; starts at 0.
  """

  a: Array
  b: Array


def lora(config: targets.Config) -> adapter.Adapter:
  """Adds `alpha / r * a b^T` to each target, at any step.

  The start is the base, for b is 0. The tree is `{path: LowRank}`.
  """

  def init(key, kernel, rank):
    d_in, d_out = kernel.shape[-2:]
    a = adapter.uniform(key, kernel, (d_in, rank))
    return LowRank(a, jnp.zeros((*kernel.shape[:-2], d_out, rank), a.dtype))

  def factors(leaf, kernel, step):
    del step
    *stack, d_in, d_out = kernel.shape
    rank = leaf.a.shape[-1]
    chex.assert_shape(leaf.a, (*stack, d_in, rank))
    chex.assert_shape(leaf.b, (*stack, d_out, rank))
    return adapter.Factors(leaf.a, leaf.b)

  return adapter.of_matrices(config, init, factors)


def plus_labels(tree: Any) -> Any:
  """LoRA+: "fast" for every b, which learns at a multiple of the rate of a.

  For `optax.partition({"slow": tx(rate), "fast": tx(ratio * rate)},
  lora.plus_labels)`. What is not a b is "slow".
  """

  def label(path, _):
    return "fast" if getattr(path[-1], "name", None) == "b" else "slow"

  return jax.tree.map_with_path(label, tree)
