"""What several models are made of: a result that is cut into parts."""

from __future__ import annotations


def split_columns(ops, x, count):
    """Return the last axis of x (b n d) in `count` equal parts."""
    width = x.shape[-1] // count
    return [ops.columns(x, i * width, (i + 1) * width) for i in range(count)]
