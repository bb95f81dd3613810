"""What several models are made of: a norm with a bias, a result cut into parts."""

from __future__ import annotations


def layer_norm(ops, x, w, eps):
    """Return the layer norm of x (b n d) with the learned w["w"] and w["bias"]."""
    return ops.layer_norm(x, w["w"], w["bias"], eps)


def split_columns(ops, x, count):
    """Return the last axis of x (b n d) in `count` equal parts."""
    width = x.shape[-1] // count
    return tuple(ops.columns(x, i * width, (i + 1) * width) for i in range(count))
