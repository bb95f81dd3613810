"""What several models are made of: layers with a bias, and parts of what they give."""

from __future__ import annotations


def linear(ops, x, w):
    """Return w["w"] x, plus w["bias"] if there is one: (b n d) to (b n f)."""
    if "bias" not in w:
        return ops.linear(x, w["w"])
    # a linear layer with a bias is a 1x1 convolution of a row of pixels
    y = ops.conv1x1(_pixels(x), w["w"], w["bias"])
    return y.reshape(*x.shape[:-1], y.shape[-1])


def linear_add(ops, x, w, residual):
    """Return residual + w["w"] x + w["bias"]: (b n d), (b n f) to (b n f)."""
    y = ops.conv1x1_add(_pixels(x), w["w"], w["bias"], _pixels(residual))
    return y.reshape(*residual.shape)


def layer_norm(ops, x, w, eps):
    """Return the layer norm of x (b n d) with the learned w["w"] and w["bias"]."""
    return ops.layer_norm(x, w["w"], w["bias"], eps)


def split_columns(ops, x, count):
    """Return the last axis of x (b n d) in `count` equal parts."""
    width = x.shape[-1] // count
    return tuple(ops.columns(x, i * width, (i + 1) * width) for i in range(count))


def _pixels(x):
    return x.reshape(x.shape[0], 1, *x.shape[1:])
