"""y = x W^T, for one row of x or thousands: one kernel, and weights laid out for it.

A weight lies in panels of 32 features (`packed.py`). A thread takes a panel and passes
the rows of x over it, as many at a time as the registers hold sums for: every number of
x is spread over a vector and multiplied by the weights of its input, and no sum leaves
its register before the part of the panel ends. A part has 128 inputs, 16 kilobytes,
which stay in the first cache while all rows pass; meanwhile the next part is fetched.

So a weight is read from memory once, and where rows are few, that is all there is to
wait for. Where they are many, x is read again for every panel, and 128 rows, a block,
stay in the caches meanwhile. The sums of a part are added to those before: a sum of
thousands of products, one after the other, would lose more to rounding.

The terms of a dot product are added up in the same order, in fused steps, whatever the
number of rows, and whatever the registers: it has the same bits in any batch, on any
number of threads, on any processor.
"""

from __future__ import annotations

from math import gcd

import numpy as np

from minigen.cpu import buffers, registers
from minigen.cpu.packed import WIDTH, pack_weight
from minigen.cpu.tile import LANES, turn
from minigen.cpu.tile import meet as meeting
from minigen.target import get_num_threads, kernel, prange, serial

_TILE = registers.tile()
_ROWS = _TILE.rows
_INPUTS = 128
"""Inputs of a part of a panel."""

_BLOCK = 128
"""Rows of x that all panels pass over, one after the other: few enough to stay in the
second cache, or near it, and so many that a weight's next part is there in time."""

_step, _turn = meeting(_TILE), turn(_ROWS)


@serial
def groups_of(n):
    """Return how many groups n rows make, each of at most `_ROWS` rows."""
    return (n + _ROWS - 1) // _ROWS


@serial
def group(n, g):
    """Return where group g of n rows begins, and how many rows it has.

    All but the last two are full, and those have as many rows as each other, or one
    more: so none is much smaller than it must be.
    """
    full = max(0, n // _ROWS - 1)
    if g < full:
        return g * _ROWS, _ROWS
    rest, first = n - full * _ROWS, full * _ROWS
    if rest <= _ROWS:
        return first, rest
    half = (rest + 1) // 2
    return (first, half) if g == full else (first + half, rest - half)


@serial
def stack(x, stacked):
    """Lay the rows of every group side by side: x (n d) -> flat, (d rows) a group."""
    n, d = x.shape
    for g in range(groups_of(n)):
        first, rows = group(n, g)
        out = stacked[first * d : (first + rows) * d].reshape(d, rows)
        whole = d // LANES * LANES if rows == _ROWS else 0
        for k in range(0, whole, LANES):
            _turn(x, first, 1, rows, k, out, k, 0)
        for k in range(whole, d):
            for r in range(rows):
                out[k, r] = x[first + r, k]


@serial
def meet(stacked, w, u, sums):
    """Write sums (n 32) = x times panel u of w (.. 2 d 16), for n rows x, stacked."""
    n, d = len(sums), w.shape[2]
    groups = groups_of(n)
    # each group fetches its share of the next part: what a processor fetches by itself
    # ends with a page of memory, and begins anew with each
    stride = max(1, LANES // groups)
    sums[:] = 0
    for k in range(0, d, _INPUTS):
        count = min(_INPUTS, d - k)
        for g in range(groups):
            first, rows = group(n, g)
            ahead = (count * LANES + g * count * stride, stride)
            _step(
                stacked, first * d + k * rows, rows, w, u, k, count, ahead, sums, first
            )


@serial
def through(stacked, n, w, panels, first, residual, bias, add, y):
    """Write rows first .. first + n of y: n rows, stacked, times some panels of w.

    panels: the first one and the end; residual and bias are added if `add`. A residual
    of a single row is shared by all.
    """
    sums = np.empty((n, WIDTH), np.float32)
    for u in range(panels[0], panels[1]):
        meet(stacked, w, u, sums)
        j = u * WIDTH
        columns = min(WIDTH, y.shape[1] - j)
        for i in range(n):
            out, total = y[first + i, j : j + columns], sums[i]
            if add:
                row = residual[min(first + i, len(residual) - 1), j : j + columns]
                for c in range(columns):
                    out[c] = total[c] + (row[c] + bias[j + c])
            else:
                for c in range(columns):
                    out[c] = total[c]


@kernel
def _multiply(x, w, residual, bias, add, y):
    # threads take blocks of rows, and share the panels so that all have the same work
    n, panels, those = len(x), len(w), get_num_threads()
    blocks = (n + _BLOCK - 1) // _BLOCK
    shares = min(panels, those // gcd(those, blocks))
    for unit in prange(blocks * shares):
        block, share = divmod(np.int64(unit), shares)
        first, last = block * n // blocks, (block + 1) * n // blocks
        some = share * panels // shares, (share + 1) * panels // shares
        stacked = np.empty((last - first) * x.shape[1], np.float32)
        stack(x[first:last], stacked)
        through(stacked, last - first, w, some, first, residual, bias, add, y)


def product(x, w, residual=None, bias=None):
    """Return x w^T + (residual + bias): (.. d), (f d) to (.. f).

    x is float32; w is a `Packed` weight, or an array that is packed for this call;
    residual (.. f), bias (f).
    """
    f, d = w.shape
    y = buffers.empty((*x.shape[:-1], f))
    add = residual is not None or bias is not None
    nothing = np.zeros(f if add else 0, np.float32)
    residual = nothing if residual is None else buffers.floats(residual)
    bias = nothing if bias is None else buffers.floats(bias)
    rows, out = buffers.floats(x).reshape(-1, d), y.reshape(-1, f)
    panels = pack_weight(w, buffers.empty).panels
    _multiply(rows, panels, residual.reshape(-1, f), bias, add, out)
    return y
