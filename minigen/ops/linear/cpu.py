"""y = x W^T for few rows of x, where reading W is most of the work.

A thread takes four rows of w at a time and passes all rows of x over them, six in a
tile, then two: so a weight is read from memory once, and while it is used, the four
rows of w that follow are on their way into the second cache.

Two rows of x, a token of one image with guidance, are so little work that memory alone
decides. Then w is read row after row: of all orders that is the one a processor
foresees best, and what it fetches ahead by itself is enough.
"""

from __future__ import annotations

import numpy as np

from minigen.errors import ShapeError
from minigen.ops import buffers
from minigen.ops.tile import LANES, tile
from minigen.target import exact, kernel, prange

_six_by_four = tile(6, 4)
_two_by_four = tile(2, 4)
_two_by_one = tile(2, 1)


@exact
def _columns(x, w, j, residual, add, y):
    m, f = y.shape
    columns = min(4, f - j)
    js = j, min(j + 1, f - 1), min(j + 2, f - 1), min(j + 3, f - 1)
    groups = x.shape[0] // 6 + x.shape[0] % 6 // 2
    i = 0
    for g in range(groups):
        # the following rows of w are spread over the groups; a row of this tile is
        # at hand, and fetching it again costs nothing
        ahead = (
            min(j + 4, f - 1) if g == 0 else j,
            min(j + 5, f - 1) if g == groups // 4 else j,
            min(j + 6, f - 1) if g == groups // 2 else j,
            min(j + 7, f - 1) if g == 3 * groups // 4 else j,
        )
        if i + 6 <= x.shape[0]:
            sums = _six_by_four(x, (i, i + 1, i + 2, i + 3, i + 4, i + 5), w, js, ahead)
            for r in range(min(6, m - i)):
                for c in range(columns):
                    y[i + r, j + c] = sums[4 * r + c]
            i += 6
        else:
            last = _two_by_four(x, (i, i + 1), w, js, ahead)
            for r in range(min(2, m - i)):
                for c in range(columns):
                    y[i + r, j + c] = last[4 * r + c]
            i += 2
    if add:
        for r in range(m):
            for c in range(j, j + columns):
                y[r, c] += residual[r, c]


@exact
def _stream(x, w, j, residual, add, y):
    for c in range(j, min(j + 8, y.shape[1])):
        sums = _two_by_one(x, (0, 1), w, (c,), (c,))
        for r in range(y.shape[0]):
            y[r, c] = residual[r, c] + sums[r] if add else sums[r]


@kernel
def _linear_two(x, w, residual, add, y):
    for block in prange((y.shape[1] + 7) // 8):
        _stream(x, w, 8 * np.int64(block), residual, add, y)


@kernel
def _linear(x, w, residual, add, y):
    for block in prange((y.shape[1] + 3) // 4):
        _columns(x, w, 4 * np.int64(block), residual, add, y)


def linear(x, w):
    # (b n d), (f d) -> (b n f)
    """Return y[b, n, f] = sum over d of x[b, n, d] w[f, d].

    x is float32; w is float32, float16 or bfloat16. ShapeError if the widths differ.
    """
    y = buffers.empty((*x.shape[:-1], w.shape[0]))
    return _run(x, w, y, False, y)


def linear_add(x, w, residual):
    # (b n d), (f d), (b n f) -> (b n f)
    """Return residual + linear(x, w) as a new array."""
    y = buffers.empty((*x.shape[:-1], w.shape[0]))
    buffers.expect("residual", residual, y.shape)
    return _run(x, w, buffers.floats(residual), True, y)


def _run(x, w, residual, add, y):
    d, f = x.shape[-1], w.shape[0]
    if w.ndim != 2 or w.shape[1] != d:
        raise ShapeError(f"x {x.shape} and w {w.shape} differ in their last axis")
    out = y.reshape(-1, f)
    rows = buffers.padded(buffers.floats(x).reshape(-1, d), 2, LANES)
    weights = buffers.padded(buffers.weight(w), 1, LANES)
    run = _linear_two if len(rows) == 2 else _linear
    run(rows, weights, residual.reshape(-1, f), add, out)
    return y
