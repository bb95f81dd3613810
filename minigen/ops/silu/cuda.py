"""SiLU on a GPU: a thread for each cell of the result."""

from __future__ import annotations

from minigen.gpu.activations import silu as _of
from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _silu(x, y):
    """One block per 256 cells of x and y.
    A thread takes one cell.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < y.size:
        y[i] = _of(x[i])


@gpu_kernel
def _gated_silu(x, y):
    """One block per row of y (n f) and 256 of its columns; x (n 2f).
    A thread takes one cell of y, and reads its value and its gate.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i, f = cuda.blockIdx.x, y.shape[1]
    k = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if k < f:
        y[i, k] = x[i, k] * _of(x[i, f + k])


def silu(device, x):
    """(b n d) -> (b n d)"""
    y = device.empty(x.shape)
    arguments = x.reshape(-1), y.reshape(-1)
    device.launch(_silu, -(-x.size // THREADS), THREADS, *arguments)
    return y


def gated_silu(device, x):
    """(b n 2f) -> (b n f)"""
    width = x.shape[-1]
    f = width // 2
    y = device.empty((*x.shape[:-1], f))
    grid = x.size // width, -(-f // THREADS)
    arguments = x.reshape((-1, width)), y.reshape((-1, f))
    device.launch(_gated_silu, grid, THREADS, *arguments)
    return y
