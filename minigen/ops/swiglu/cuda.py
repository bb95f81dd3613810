"""SwiGLU on a GPU: a thread for each cell, and no power that could overflow."""

from __future__ import annotations

import math

import numpy as np

from minigen.ops import buffers
from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _swiglu(gate, up, y):
    """One block per 256 cells of gate, up and y.
    A thread takes one cell.
    Reads gate 1, up 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < y.size:
        g = gate[i]
        one = np.float32(1)
        # at most one, whatever the sign of the gate
        small = math.exp(-abs(g))
        sigmoid = (small if g < np.float32(0) else one) / (one + small)
        y[i] = g * sigmoid * up[i]


def swiglu(device, gate, up):
    # (b n f), (b n f) -> (b n f)
    """Return silu(gate) * up, where silu(g) = g / (1 + exp(-g))."""
    buffers.expect("up", up, gate.shape)
    y = device.empty(gate.shape)
    blocks = -(-gate.size // THREADS)
    arguments = gate.reshape(-1), up.reshape(-1), y.reshape(-1)
    device.launch(_swiglu, blocks, THREADS, *arguments)
    return y
