"""Ops with a GPU (Triton), a TPU (Pallas) and an XLA implementation."""

from simplex.kernels.dot_product_attention.api import dot_product_attention
from simplex.kernels.forgetting_attention.api import (
  forgetting_attention,
  forgetting_attention_with_statistics,
)
from simplex.kernels.simplicial_attention.api import (
  simplicial_attention,
  simplicial_attention_with_lse,
)

__all__ = (
  "dot_product_attention",
  "forgetting_attention",
  "forgetting_attention_with_statistics",
  "simplicial_attention",
  "simplicial_attention_with_lse",
)
