"""Rows of a sequence. Copies only move memory, and NumPy's are as good as a kernel."""

from __future__ import annotations

import numpy as np

from minigen.errors import InputError
from minigen.ops import buffers


def gather(x, rows):
    # (b n d), (b m) -> (b m d)
    """Return the rows of each image that `rows` names, in its order."""
    _check(x, rows)
    y = buffers.empty((*rows.shape, x.shape[-1]))
    y[...] = x[np.arange(len(x))[:, None], rows]
    return y


def scatter(x, new, rows):
    # (b n d), (b m d), (b m) -> (b n d)
    """Write `new` at the rows of x, in place, and return x. Rows differ in an image."""
    _check(x, rows)
    buffers.expect("new", new, (*rows.shape, x.shape[-1]))
    x[np.arange(len(x))[:, None], rows] = new
    return x


def _check(x, rows):
    buffers.expect("rows", rows, (len(x), rows.shape[-1]))
    if rows.size and not 0 <= rows.min() <= rows.max() < x.shape[1]:
        raise InputError(
            f"rows go from {rows.min()} to {rows.max()}, the sequence has {x.shape[1]}"
        )
