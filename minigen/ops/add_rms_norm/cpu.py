"""Add and norm: a pass for the sum and its squares, a pass for the result."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.sums import dot
from minigen.target import serial


@serial
def _add_rms_norm(x, residual, w, eps, y, total):
    n, d = x.shape
    for i in range(n):
        for k in range(d):
            total[i, k] = x[i, k] + residual[i, k]
        scale = np.float32(1) / np.sqrt(dot(total[i], total[i]) / np.float32(d) + eps)
        for k in range(d):
            y[i, k] = w[k] * (total[i, k] * scale)


def add_rms_norm(x, residual, w, eps):
    """(b n d), (b n d), (d) -> (b n d), (b n d)"""
    y, total = buffers.empty(x.shape), buffers.empty(x.shape)
    rows = (-1, x.shape[-1])
    _add_rms_norm(
        buffers.floats(x).reshape(rows),
        buffers.floats(residual).reshape(rows),
        buffers.floats(w),
        np.float32(eps),
        y.reshape(rows),
        total.reshape(rows),
    )
    return y, total
