"""Softmax attention: grouped heads, causal, windowed or in segments."""
