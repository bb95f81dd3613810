"""Ops of the sampling loop: constant arrays, both halves of guidance, the canvas."""

from __future__ import annotations

import numpy as np


def full(shape, value):
    """-> (b n)
    where shape is a shape, value is an integer

    Return a new int64 array of `shape` that holds `value` everywhere.

    >>> full((2, 3), -1).tolist()
    [[-1, -1, -1], [-1, -1, -1]]
    """
    return np.full(shape, value, np.int64)


def zeros(shape):
    """-> (b n)
    where shape is a shape

    Return a new float32 array of `shape`, of any number of axes, that holds zeros.

    >>> zeros((2, 3)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    return np.zeros(shape, np.float32)


def twice(x):
    """(b ...) -> (2b ...)
    where x is an entry

    Return the rows of x twice, one copy after the other: for both halves of guidance.

    >>> twice(np.array([[1, 2], [3, 4]])).tolist()
    [[1, 2], [3, 4], [1, 2], [3, 4]]
    """
    return np.concatenate([x, x])


def place(canvas, tokens, positions):
    """(b n), (b m), (m) -> (b n)
    where canvas and tokens are integers, tokens is like canvas, canvas is changed, 0
    <= positions < n

    Write tokens at canvas[:, positions] in place, and return the canvas.

    Positions differ from each other.

    >>> place(full((1, 4), -1), np.array([[8, 9]]), np.array([3, 0])).tolist()
    [[9, -1, -1, 8]]
    """
    canvas[:, positions] = tokens
    return canvas
