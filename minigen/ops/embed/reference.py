"""Rows of a table: from token ids to vectors.

Source: PyTorch nn.Embedding; hp-l33/ARPG models/arpg.py keeps image codes, the mask and
the classes in one table.
"""

from __future__ import annotations

import numpy as np


def embed(table, ids):
    """(t d), (b n) -> (b n d)
    where table is a weight, 0 <= ids < t

    Return table[ids] in float32, or in float64 if the table is float64.

    ids are integers in 0 .. t - 1.

    >>> embed(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1, 0, 1]])).tolist()
    [[[3.0, 4.0], [1.0, 2.0], [3.0, 4.0]]]
    """
    dtype = np.float64 if table.dtype == np.float64 else np.float32
    return table[ids].astype(dtype)
