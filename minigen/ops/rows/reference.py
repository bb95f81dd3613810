"""Rows of a sequence: read some, write some, append, concatenate, repeat.

A masked model gathers the rows it knows and scatters them back; a KV cache is appended
to at every step.

Source: arXiv 2406.11838 (MAR), section 3.4; Qinyu-Allen-Zhao/Arinar backbone/mar.py
::forward_mae_encoder, ::forward_mae_decoder, where both are boolean indexing.
"""

from __future__ import annotations

import numpy as np


def gather(x, rows):
    """(b n d), (b m) -> (b m d)
    where 0 <= rows < n

    Return x[i, rows[i]] for each image i.

    >>> gather(np.array([[[1.0], [2.0], [3.0]]]), np.array([[2, 0]])).tolist()
    [[[3.0], [1.0]]]
    """
    return np.take_along_axis(x, rows[..., None], axis=1)


def scatter(x, new, rows):
    """(b n d), (b m d), (b m) -> (b n d)
    where x and new are entries, new is like x, x is changed, 0 <= rows < n

    Write `new` at these rows of x, in place; return x. The rows of an image differ.

    >>> x = np.zeros((1, 3, 1))
    >>> scatter(x, np.array([[[7.0]]]), np.array([[1]])).tolist()
    [[[0.0], [7.0], [0.0]]]
    """
    np.put_along_axis(x, rows[..., None], new, axis=1)
    return x


def append(cache, new, length):
    """(b n ...), (b m ...) -> (b n ...)
    where cache is changed, 0 <= length <= n - m

    Write `new` at rows length .. length + m - 1 of `cache`, in place; return it.

    >>> append(np.zeros((1, 3, 1)), np.ones((1, 2, 1)), 1).tolist()
    [[[0.0], [1.0], [1.0]]]
    """
    cache[:, length : length + new.shape[1]] = new
    return cache


def concat(x, y):
    """(b n d), (b m d) -> (b n+m d)
    where x and y are weights

    Return the rows of x and then those of y, in float32, or in float64 if either is.

    >>> concat(np.zeros((1, 1, 2)), np.ones((1, 2, 2))).tolist()
    [[[0.0, 0.0], [1.0, 1.0], [1.0, 1.0]]]
    """
    dtype = np.float64 if np.float64 in (x.dtype, y.dtype) else np.float32
    return np.concatenate([x, y], axis=1, dtype=dtype)


def repeat(x, n):
    """(b d) -> (b n d)
    where x is a weight, n >= 0

    Return each row of x n times, in float32, or in float64 if x is float64.

    >>> repeat(np.array([[1.0, 2.0], [3.0, 4.0]]), 2).tolist()
    [[[1.0, 2.0], [1.0, 2.0]], [[3.0, 4.0], [3.0, 4.0]]]
    """
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    return np.repeat(x[:, None].astype(dtype), n, axis=1)
