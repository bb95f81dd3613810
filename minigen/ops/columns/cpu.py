"""Columns of a projection. A copy only moves memory, and NumPy's is as good."""

from __future__ import annotations

from minigen.cpu import buffers


def columns(x, first, last):
    """(b n d) -> (b n f)"""
    y = buffers.empty((*x.shape[:-1], last - first))
    y[...] = x[..., first:last]
    return y
