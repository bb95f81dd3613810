"""Softmax attention over a cache, or causal over a sequence."""
