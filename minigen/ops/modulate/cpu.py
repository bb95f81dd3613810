"""Adaptive layer norm: one pass over the tokens of each image."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.target import serial


@serial
def _modulate(x, shift, scale, y):
    b, n, d = x.shape
    for i in range(b):
        for t in range(n):
            for k in range(d):
                y[i, t, k] = x[i, t, k] * (np.float32(1) + scale[i, k]) + shift[i, k]


@serial
def _gate(x, weight, y):
    b, n, d = x.shape
    for i in range(b):
        for t in range(n):
            for k in range(d):
                y[i, t, k] = x[i, t, k] * weight[i, k]


def modulate(x, shift, scale):
    """(b n d), (b 1 d), (b 1 d) -> (b n d)"""
    y = buffers.empty(x.shape)
    _modulate(buffers.floats(x), _rows(shift), _rows(scale), y)
    return y


def gate(x, weight):
    """(b n d), (b 1 d) -> (b n d)"""
    y = buffers.empty(x.shape)
    _gate(buffers.floats(x), _rows(weight), y)
    return y


def _rows(array):
    return buffers.floats(array)[:, 0]
