"""Rows of a sequence. Copies only move memory, and NumPy's are as good as a kernel."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.ops.rows.reference import append

__all__ = ["append", "concat", "gather", "repeat", "scatter"]


def gather(x, rows):
    """(b n d), (b m) -> (b m d)"""
    y = buffers.empty((*rows.shape, x.shape[-1]))
    y[...] = x[np.arange(len(x))[:, None], rows]
    return y


def scatter(x, new, rows):
    """(b n d), (b m d), (b m) -> (b n d)"""
    x[np.arange(len(x))[:, None], rows] = new
    return x


def concat(x, y):
    """(b n d), (b m d) -> (b n+m d)"""
    b, n, d = x.shape
    z = buffers.empty((b, n + y.shape[1], d))
    z[:, :n], z[:, n:] = x, y
    return z


def repeat(x, n):
    """(b d) -> (b n d)"""
    y = buffers.empty((x.shape[0], n, x.shape[1]))
    y[...] = x[:, None]
    return y
