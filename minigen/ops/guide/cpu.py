"""Classifier-free guidance: one pass over both halves of the logits."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.target import serial


@serial
def _guide(conditional, unconditional, weight, y):
    for i in range(y.size):
        u = unconditional[i]
        y[i] = u + (conditional[i] - u) * weight


def guide(logits, weight):
    """(2b m v) -> (b m v)"""
    rows = logits.shape[0]
    y = buffers.empty((rows // 2, *logits.shape[1:]))
    conditional, unconditional = buffers.floats(logits).reshape(2, -1)
    _guide(conditional, unconditional, np.float32(weight), y.reshape(-1))
    return y
