"""Columns of a projection: one matrix often computes several vectors side by side.

Source: torch.split in state-spaces/mamba modules/mamba2.py.
"""

from __future__ import annotations

import numpy as np


def columns(x, first, last):
    """(b n d) -> (b n f)
    where 0 <= first < last <= d

    Return a copy of x[..., first:last].

    >>> columns(np.arange(4.0).reshape(1, 1, 4), 1, 3).tolist()
    [[[1.0, 2.0]]]
    """
    return np.ascontiguousarray(x[..., first:last])
