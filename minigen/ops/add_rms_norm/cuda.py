"""Add and norm on a GPU: the sum is written for the residual stream, and read back."""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import block_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _add_rms_norm(x, residual, w, eps, y, total):
    """One block per row of x (n d).
    Threads stride along the row, then add up their squares through shared memory.
    Reads x 1, residual 1, w n, total 1; writes y 1, total 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, d = cuda.blockIdx.x, x.shape[1]
    squares = np.float32(0)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        v = x[i, k] + residual[i, k]
        total[i, k] = v
        squares += v * v
    mean = block_sum(squares, partial) / np.float32(d)
    scale = np.float32(1) / math.sqrt(mean + eps)
    # a thread reads only what it wrote itself
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        y[i, k] = widen(w[k]) * (total[i, k] * scale)


def add_rms_norm(device, x, residual, w, eps):
    """(b n d), (b n d), (d) -> (b n d), (b n d)"""
    d = x.shape[-1]
    y, total = device.empty(x.shape), device.empty(x.shape)
    rows = [array.reshape((-1, d)) for array in (x, residual, y, total)]
    arguments = *rows[:2], w, np.float32(eps), *rows[2:]
    device.launch(_add_rms_norm, x.size // d, THREADS, *arguments)
    return y, total
