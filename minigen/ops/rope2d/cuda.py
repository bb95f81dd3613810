"""Two-dimensional rotary positions on a GPU: a thread turns a pair at a time."""

from __future__ import annotations

import numpy as np

from minigen.gpu.flag import inside
from minigen.target import cuda, gpu_kernel

BLOCK = 32, 4
"""Threads of a block: pairs of a head by heads, so that no thread must divide."""


@gpu_kernel
def _rope2d(x, table, rows, y, flag):
    """One block per token of x (n h e), whose place in the table rows (n) has.
    Threads stride over pairs and over heads; neighbours take neighbouring pairs.
    Reads x 1, table 0..n * h, rows 128; writes y 1.
    Shared memory: none.
    """
    i = cuda.blockIdx.x
    place = rows[i]
    known = inside(place, table.shape[0], flag)
    for j in range(cuda.threadIdx.y, x.shape[1], cuda.blockDim.y):
        for p in range(cuda.threadIdx.x, x.shape[2] // 2, cuda.blockDim.x):
            x0, x1 = x[i, j, 2 * p], x[i, j, 2 * p + 1]
            c = s = np.float32(0)
            if known:
                c, s = table[place, p, 0], table[place, p, 1]
            y[i, j, 2 * p] = x0 * c - x1 * s
            y[i, j, 2 * p + 1] = x1 * c + x0 * s


def rope2d(device, x, table, rows):
    """(b n h e), (t e/2 2), (b n) -> (b n h e)

    rows are int64 in 0 .. t - 1: any other sets the device's flag.
    """
    b, n, h, e = x.shape
    y = device.empty(x.shape)
    tokens = (b * n, h, e)
    arguments = x.reshape(tokens), table, rows.reshape(b * n), y.reshape(tokens)
    device.launch(_rope2d, b * n, BLOCK, *arguments, device.flag)
    return y
