"""The step size: one pass."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import softplus
from minigen.target import serial


@serial
def _step_size(x, bias, lowest, highest, y):
    n, h = x.shape
    for i in range(n):
        for k in range(h):
            delta = softplus(x[i, k] + bias[k])
            y[i, k] = min(max(delta, lowest), highest)


def step_size(x, bias, lowest, highest):
    """(b n h), (h) -> (b n h)"""
    h = x.shape[-1]
    y = buffers.empty(x.shape)
    limits = np.float32(lowest), np.float32(highest)
    rows = buffers.floats(x).reshape(-1, h)
    _step_size(rows, buffers.floats(bias), *limits, y.reshape(-1, h))
    return y
