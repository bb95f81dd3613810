"""Layer norm: a pass for the mean, one for the variance, one for the result."""

from __future__ import annotations

import numpy as np

from minigen.ops import buffers
from minigen.target import exact, serial


@serial
def _moments(x, eps):
    d = x.size
    total = np.float32(0)
    for k in range(d):
        total += x[k]
    mean = total / np.float32(d)
    squares = np.float32(0)
    for k in range(d):
        away = x[k] - mean
        squares += away * away
    return mean, np.float32(1) / np.sqrt(squares / np.float32(d) + eps)


@exact
def _layer_norm(x, w, bias, eps, y):
    n, d = x.shape
    for i in range(n):
        mean, scale = _moments(x[i], eps)
        for k in range(d):
            y[i, k] = w[k] * ((x[i, k] - mean) * scale) + bias[k]


@exact
def _standardise(x, eps, y):
    n, d = x.shape
    for i in range(n):
        mean, scale = _moments(x[i], eps)
        for k in range(d):
            y[i, k] = (x[i, k] - mean) * scale


def layer_norm(x, w, bias, eps):
    # (b n d), (d), (d) -> (b n d)
    """Return w * standardise(x) + bias."""
    d = x.shape[-1]
    buffers.expect("w", w, (d,))
    buffers.expect("bias", bias, (d,))
    y = buffers.empty(x.shape)
    given = buffers.floats(x).reshape(-1, d), buffers.floats(w), buffers.floats(bias)
    _layer_norm(*given, np.float32(eps), y.reshape(-1, d))
    return y


def standardise(x, eps):
    # (b n d) -> (b n d)
    """Return (x - mean) / sqrt(variance + eps), both over the last axis."""
    d = x.shape[-1]
    y = buffers.empty(x.shape)
    _standardise(buffers.floats(x).reshape(-1, d), np.float32(eps), y.reshape(-1, d))
    return y
