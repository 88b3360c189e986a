"""Ops with a GPU (Triton), a TPU (Pallas) and an XLA implementation."""
