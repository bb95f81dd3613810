"""RMSNorm: one pass for the sum of squares, one for the result."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.sums import dot
from minigen.target import serial


@serial
def _rms_norm(x, w, eps, y):
    n, d = x.shape
    for i in range(n):
        scale = np.float32(1) / np.sqrt(dot(x[i], x[i]) / np.float32(d) + eps)
        for k in range(d):
            y[i, k] = w[k] * (x[i, k] * scale)


def rms_norm(x, w, eps):
    """(b n d), (d) -> (b n d)"""
    x = buffers.floats(x)
    y = buffers.empty(x.shape)
    d = x.shape[-1]
    _rms_norm(x.reshape(-1, d), buffers.floats(w), np.float32(eps), y.reshape(-1, d))
    return y
