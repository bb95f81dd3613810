"""Columns of a projection on a GPU: a thread for each cell that is copied."""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _columns(x, first, y):
    """One block per row of y (n f) and 256 of its columns; x (n d).
    A thread copies one cell, its neighbour the next.
    Reads x 0..1; writes y 1.
    Shared memory: none.
    """
    i, k = cuda.blockIdx.x, cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if k < y.shape[1]:
        y[i, k] = x[i, first + k]


def columns(device, x, first, last):
    """(b n d) -> (b n f)"""
    d = x.shape[-1]
    f = last - first
    y = device.empty((*x.shape[:-1], f))
    grid = x.size // d, -(-f // THREADS)
    arguments = x.reshape((-1, d)), np.int32(first), y.reshape((-1, f))
    device.launch(_columns, grid, THREADS, *arguments)
    return y
