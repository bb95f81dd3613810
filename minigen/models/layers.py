"""Parts that several models share."""

from __future__ import annotations


def split_columns(ops, x, count):
    """Split the last axis of x (b n d) into `count` equal parts."""
    width = x.shape[-1] // count
    parts = [ops.columns(x, i * width, (i + 1) * width) for i in range(count)]
    return tuple(parts)
