"""RMSNorm on a GPU: a block of threads adds up the squares of one row together."""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import block_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_kernel

THREADS = 128


@gpu_kernel
def _rms_norm(x, w, eps, y):
    """One block per row of x (n d).
    Threads stride along the row, then add up their sums through shared memory.
    Reads x 2, w n; writes y 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i, d = cuda.blockIdx.x, x.shape[1]
    total = np.float32(0)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        v = x[i, k]
        total += v * v
    mean = block_sum(total, partial) / np.float32(d)
    scale = np.float32(1) / math.sqrt(mean + eps)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        y[i, k] = widen(w[k]) * (x[i, k] * scale)


def rms_norm(device, x, w, eps):
    """(b n d), (d) -> (b n d)"""
    y = device.empty(x.shape)
    rows = (-1, x.shape[-1])
    blocks = x.size // x.shape[-1]
    arguments = x.reshape(rows), w, np.float32(eps), y.reshape(rows)
    device.launch(_rms_norm, blocks, THREADS, *arguments)
    return y
