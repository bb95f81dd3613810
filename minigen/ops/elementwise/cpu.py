"""Arithmetic entry by entry: NumPy's, since reading and writing takes all the time."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers


def add(x, y):
    """(b ...), (b ...) -> (b ...)"""
    return np.add(x, y, out=buffers.empty(x.shape))


def subtract(x, y):
    """(b ...), (b ...) -> (b ...)"""
    return np.subtract(x, y, out=buffers.empty(x.shape))


def multiply(x, y):
    """(b ...), (b ...) -> (b ...)"""
    return np.multiply(x, y, out=buffers.empty(x.shape))


def scale(x, factor):
    """(b ...) -> (b ...)"""
    return np.multiply(x, np.float32(factor), out=buffers.empty(x.shape))


def sqrt(x):
    """(b ...) -> (b ...)"""
    with np.errstate(invalid="ignore"):
        return np.sqrt(x, out=buffers.empty(x.shape))
