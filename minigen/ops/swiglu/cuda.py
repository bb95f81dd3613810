"""SwiGLU on a GPU: a thread for each cell; no exponential can overflow."""

from __future__ import annotations

from minigen.gpu.activations import silu
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
        y[i] = silu(gate[i]) * up[i]


def swiglu(device, gate, up):
    """(b n f), (b n f) -> (b n f)"""
    y = device.empty(gate.shape)
    blocks = -(-gate.size // THREADS)
    arguments = gate.reshape(-1), up.reshape(-1), y.reshape(-1)
    device.launch(_swiglu, blocks, THREADS, *arguments)
    return y
