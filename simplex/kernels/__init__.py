"""Ops with a GPU (Triton), a TPU (Pallas) and an XLA implementation."""

from simplex.kernels.dot_product_attention.api import dot_product_attention

__all__ = ("dot_product_attention",)
