"""Two-dimensional rotary embedding: half of the pairs are rotated by the row of a
token, half by its column.

Source: Su et al., arXiv 2104.09864, equation 34, on two axes; hp-l33/ARPG
models/arpg.py::precompute_freqs_cis_2d and apply_rotary_emb.
"""

from __future__ import annotations

import numpy as np


def table(rows, columns, e, base):
    """-> (t e/2 2)
    where rows >= 1, columns >= 1, 4 divides e

    Return (cos, sin) of every pair at every position of a grid, float32.

    t = 1 + rows * columns. Row 0 is for the class token and all zero: its queries and
    keys become zero. Row 1 + r is raster position r of the grid.

    >>> table(2, 3, 8, 10000.0).shape
    (7, 4, 2)
    """
    half = e // 2
    speeds = 1.0 / base ** (2 * np.arange(half // 2) / half)
    r = np.arange(rows * columns)
    angles = np.concatenate(
        [(r // columns)[:, None] * speeds, (r % columns)[:, None] * speeds], axis=1
    )
    turned = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    return np.concatenate([np.zeros((1, half, 2)), turned]).astype(np.float32)


def rope2d(x, table, rows):
    """(b n h e), (t e/2 2), (b n) -> (b n h e)
    where 0 <= rows < t

    Rotate each pair (x0, x1) by its angle: (x0 c - x1 s, x1 c + x0 s).

    Pairs are neighbours (elements 2p and 2p + 1); rows: the row of the table for each
    token.

    >>> turn = np.array([[[0.0, 1.0]]])  # one position, one pair, a quarter turn
    >>> rope2d(np.array([[[[3.0, 4.0]]]]), turn, np.array([[0]])).tolist()
    [[[[-4.0, 3.0]]]]
    """
    cos, sin = np.moveaxis(table[rows].astype(x.dtype)[:, :, None], -1, 0)
    x0, x1 = x[..., 0::2], x[..., 1::2]
    y = np.empty_like(x)
    y[..., 0::2] = x0 * cos - x1 * sin
    y[..., 1::2] = x1 * cos + x0 * sin
    return y
