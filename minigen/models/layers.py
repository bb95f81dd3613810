"""Parts that several models share."""

from __future__ import annotations

import numpy as np


def table_rows(positions, options=None):
    """Return the rows of the rotary table of raster positions, as int64.

    Row 0 is that of the class.
    """
    return np.asarray(positions, np.int64) + 1


def rotary_table(ops, config, grid=None):
    """Return the rotary table (t e/2 2) of a grid, by default the trained one.

    It is on the host; `ops.put` moves it to where the other arrays live.
    """
    rows, columns = grid or (config.side, config.side)
    return ops.rope_table(rows, columns, config.head_size, config.rope_base)


def split_columns(ops, x, count):
    """Split the last axis of x (b n d) into `count` equal parts."""
    width = x.shape[-1] // count
    parts = [ops.columns(x, i * width, (i + 1) * width) for i in range(count)]
    return tuple(parts)
