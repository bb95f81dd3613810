"""Two-dimensional rotary positions: one pass over x, the table's rows stay in cache."""

from __future__ import annotations

from minigen.cpu import buffers
from minigen.target import serial


@serial
def _rope2d(x, table, rows, y):
    n, h, e = x.shape
    for i in range(n):
        turn = table[rows[i]]
        for j in range(h):
            for p in range(e // 2):
                x0, x1 = x[i, j, 2 * p], x[i, j, 2 * p + 1]
                c, s = turn[p, 0], turn[p, 1]
                y[i, j, 2 * p] = x0 * c - x1 * s
                y[i, j, 2 * p + 1] = x1 * c + x0 * s


def rope2d(x, table, rows):
    """(b n h e), (t e/2 2), (b n) -> (b n h e)"""
    b, n, h, e = x.shape
    y = buffers.empty(x.shape)
    _rope2d(
        buffers.floats(x).reshape(-1, h, e),
        buffers.floats(table),
        buffers.integers(rows).reshape(-1),
        y.reshape(-1, h, e),
    )
    return y
