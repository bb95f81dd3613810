"""Elementwise arithmetic, as in NumPy."""

from __future__ import annotations

import numpy as np


def add(x, y):
    """(b ...), (b ...) -> (b ...)

    Return x + y.

    >>> add(np.array([1.0, 2.0]), np.array([3.0, 5.0])).tolist()
    [4.0, 7.0]
    """
    return np.add(x, y)


def subtract(x, y):
    """(b ...), (b ...) -> (b ...)

    Return x - y.

    >>> subtract(np.array([1.0, 2.0]), np.array([3.0, 5.0])).tolist()
    [-2.0, -3.0]
    """
    return np.subtract(x, y)


def multiply(x, y):
    """(b ...), (b ...) -> (b ...)

    Return x y.

    >>> multiply(np.array([1.0, 2.0]), np.array([3.0, 5.0])).tolist()
    [3.0, 10.0]
    """
    return np.multiply(x, y)


def scale(x, factor):
    """(b ...) -> (b ...)

    Return x times a number, which is rounded to the dtype of x.

    >>> scale(np.array([1.0, 2.0]), 3.0).tolist()
    [3.0, 6.0]
    """
    return np.multiply(x, x.dtype.type(factor))


def sqrt(x):
    """(b ...) -> (b ...)

    Return the square root of x: NaN below 0.

    >>> sqrt(np.array([4.0, 9.0])).tolist()
    [2.0, 3.0]
    """
    with np.errstate(invalid="ignore"):
        return np.sqrt(x)
