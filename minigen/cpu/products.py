"""y = x W^T, for few rows of x or many: what linear layers and 1x1 convolutions do.

Where rows of x are few, reading w is most of the work. A thread takes four rows of w at
a time and passes all rows of x over them, six in a tile, then two: so a weight is read
from memory once, and while it is used, the four rows of w that follow are on their way
into the second cache.

Two rows of x, a token of one image with guidance, are so little work that memory alone
decides. Then w is read row after row: of all orders that is the one a processor
foresees best, and what it fetches ahead by itself is enough.

Where rows of x are many, it is x that goes through the caches again and again. Then a
thread holds a few dozen rows of w in the second cache and passes x over them once; and
six rows of x, in the first, while they meet all of those.

A dot product has the same bits in each of these ways. Where every image has many rows
of its own, none of them is the fastest: that is what `panels.py` is for.
"""

from __future__ import annotations

import math

import numpy as np

from minigen.cpu import buffers, panels
from minigen.cpu.tile import LANES, tile
from minigen.target import exact, kernel, prange

_MANY = 48
"""Rows of x that are many."""

_WHOLE = 48
"""Rows of x for each image that go to `panels`: it is of no account how many images
there are, so a sum has the same bits in any company."""

_ROWS, _COLUMNS = 192, 32
"""Rows of x, and of w, that a thread takes where they are many."""

_six_by_four = tile(6, 4)
_two_by_four = tile(2, 4)
_two_by_one = tile(2, 1)


@exact
def _meet(x, i, w, j, columns, ahead, y):
    # six rows of x, or the last two, and four of w; returns the row of x that follows
    js = j, min(j + 1, len(w) - 1), min(j + 2, len(w) - 1), min(j + 3, len(w) - 1)
    if i + 6 <= x.shape[0]:
        sums = _six_by_four(x, (i, i + 1, i + 2, i + 3, i + 4, i + 5), w, js, ahead)
        if columns == 4 and i + 6 <= y.shape[0]:
            # loops of a known length, which LLVM unrolls
            for r in range(6):
                for c in range(4):
                    y[i + r, j + c] = sums[4 * r + c]
            return i + 6
        for r in range(min(6, y.shape[0] - i)):
            for c in range(columns):
                y[i + r, j + c] = sums[4 * r + c]
        return i + 6
    last = _two_by_four(x, (i, i + 1), w, js, ahead)
    for r in range(min(2, y.shape[0] - i)):
        for c in range(columns):
            y[i + r, j + c] = last[4 * r + c]
    return i + 2


@exact
def _add(residual, bias, first, j, columns, y):
    for r in range(y.shape[0]):
        # a residual of a single row is shared by all
        row = min(first + r, residual.shape[0] - 1)
        for c in range(j, j + columns):
            y[r, c] += residual[row, c] + bias[c]


@exact
def _columns(x, w, j, residual, bias, add, y):
    f = y.shape[1]
    columns = min(4, f - j)
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
        i = _meet(x, i, w, j, columns, ahead, y)
    if add:
        _add(residual, bias, 0, j, columns, y)


@exact
def _stream(x, w, j, residual, bias, add, y):
    columns = min(8, y.shape[1] - j)
    for c in range(j, j + columns):
        sums = _two_by_one(x, (0, 1), w, (c,), (c,))
        for r in range(y.shape[0]):
            y[r, c] = sums[r]
    if add:
        _add(residual, bias, 0, j, columns, y)


@exact
def _block(x, w, first, j, residual, bias, add, y):
    f = y.shape[1]
    end = min(j + _COLUMNS, f)
    i = 0
    while i < x.shape[0]:
        following = i
        for k in range(j, end, 4):
            # while the first rows of x pass, the next rows of w are fetched
            near = min(k + 4, f - 1) if i == 0 else k
            ahead = (
                near,
                min(near + 1, f - 1),
                min(near + 2, f - 1),
                min(near + 3, f - 1),
            )
            following = _meet(x, i, w, k, min(4, f - k), ahead, y)
        i = following
    if add:
        _add(residual, bias, first, j, end - j, y)


@kernel
def _two(x, w, residual, bias, add, y):
    for block in prange((y.shape[1] + 7) // 8):
        _stream(x, w, 8 * np.int64(block), residual, bias, add, y)


@kernel
def _few(x, w, residual, bias, add, y):
    for block in prange((y.shape[1] + 3) // 4):
        _columns(x, w, 4 * np.int64(block), residual, bias, add, y)


@kernel
def _many(x, w, residual, bias, add, y):
    parts = (x.shape[0] + _ROWS - 1) // _ROWS
    blocks = (y.shape[1] + _COLUMNS - 1) // _COLUMNS
    for unit in prange(parts * blocks):
        first, j = np.int64(unit) // blocks * _ROWS, np.int64(unit) % blocks * _COLUMNS
        rows, out = x[first : first + _ROWS], y[first : first + _ROWS]
        _block(rows, w, first, j, residual, bias, add, out)


def product(x, w, residual=None, bias=None):
    """Return x w^T + (residual + bias): (.. d), (f d) to (.. f).

    x is float32; w is float32, float16 or bfloat16; residual (.. f), bias (f).
    """
    d, f = x.shape[-1], w.shape[0]
    y = buffers.empty((*x.shape[:-1], f))
    add = residual is not None or bias is not None
    nothing = np.zeros(f, np.float32)
    residual = nothing if residual is None else buffers.floats(residual)
    bias = nothing if bias is None else buffers.floats(bias)
    rows, weights = buffers.floats(x).reshape(-1, d), buffers.weight(w)
    weights = buffers.padded(weights, 1, LANES)
    residual, out = residual.reshape(-1, f), y.reshape(-1, f)
    if math.prod(x.shape[1:-1]) >= _WHOLE:
        panels.multiply(buffers.padded(rows, 1, LANES), weights, residual, bias, out)
        return y
    rows = buffers.padded(rows, 2, LANES)
    run = _two if len(rows) == 2 else _few if len(rows) < _MANY else _many
    run(rows, weights, residual, bias, add, out)
    return y
