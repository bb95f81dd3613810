"""Layer norm: the mean, what is left without it, its squares, the result.

A thread takes a few rows.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.sums import dot, total
from minigen.target import kernel, prange, serial

_ROWS = 32
"""The least rows of a thread."""


@serial
def _centre(x, eps, y):
    # y = x - mean of x; return 1 / its deviation
    d = np.float32(x.size)
    mean = total(x) / d
    for k in range(x.size):
        y[k] = x[k] - mean
    return np.float32(1) / np.sqrt(dot(y, y) / d + eps)


@serial
def _layer_norm(x, w, bias, eps, y):
    n, d = x.shape
    for i in range(n):
        scale = _centre(x[i], eps, y[i])
        for k in range(d):
            y[i, k] = w[k] * (y[i, k] * scale) + bias[k]


@serial
def _standardise(x, eps, y):
    n, d = x.shape
    for i in range(n):
        scale = _centre(x[i], eps, y[i])
        for k in range(d):
            y[i, k] = y[i, k] * scale


@kernel
def _layer_norm_blocks(x, w, bias, eps, y):
    for block in prange((len(x) + _ROWS - 1) // _ROWS):
        first = block * _ROWS
        _layer_norm(x[first : first + _ROWS], w, bias, eps, y[first : first + _ROWS])


@kernel
def _standardise_blocks(x, eps, y):
    for block in prange((len(x) + _ROWS - 1) // _ROWS):
        first = block * _ROWS
        _standardise(x[first : first + _ROWS], eps, y[first : first + _ROWS])


def layer_norm(x, w, bias, eps):
    """(b n d), (d), (d) -> (b n d)"""
    d = x.shape[-1]
    y = buffers.empty(x.shape)
    rows, out = buffers.floats(x).reshape(-1, d), y.reshape(-1, d)
    run = _layer_norm_blocks if len(rows) > _ROWS else _layer_norm
    run(rows, buffers.floats(w), buffers.floats(bias), np.float32(eps), out)
    return y


def standardise(x, eps):
    """(b n d) -> (b n d)"""
    d = x.shape[-1]
    y = buffers.empty(x.shape)
    rows, out = buffers.floats(x).reshape(-1, d), y.reshape(-1, d)
    run = _standardise_blocks if len(rows) > _ROWS else _standardise
    run(rows, np.float32(eps), out)
    return y
