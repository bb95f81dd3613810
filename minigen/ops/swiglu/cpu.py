"""SwiGLU: one pass over gate and up."""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.target import serial


@serial
def _swiglu(gate, up, y):
    one = np.float32(1)
    for i in range(gate.size):
        g = gate[i]
        small = exp(-abs(g))
        sigmoid = (small if g < np.float32(0) else one) / (one + small)
        y[i] = g * sigmoid * up[i]


def swiglu(gate, up):
    """(b n f), (b n f) -> (b n f)"""
    y = buffers.empty(gate.shape)
    _swiglu(
        buffers.floats(gate).reshape(-1), buffers.floats(up).reshape(-1), y.reshape(-1)
    )
    return y
