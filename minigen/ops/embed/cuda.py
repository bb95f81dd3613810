"""Rows of a table on a GPU: a block copies one row, and widens it on the way."""

from __future__ import annotations

import numpy as np

from minigen.gpu.flag import inside
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_kernel

THREADS = 128


@gpu_kernel
def _embed(table, ids, y, flag):
    """One block per row of y (n d), which is the row of the table that ids (n) names.
    Threads stride along the row. What no row has is written as 0, and flagged.
    Reads table 0..n, ids 128; writes y 1.
    Shared memory: none.
    """
    i = cuda.blockIdx.x
    row = ids[i]
    known = inside(row, table.shape[0], flag)
    for k in range(cuda.threadIdx.x, y.shape[1], cuda.blockDim.x):
        y[i, k] = widen(table[row, k]) if known else np.float32(0)


def embed(device, table, ids):
    """(t d), (b n) -> (b n d)

    ids are int64 in 0 .. t - 1: any other sets the device's flag.
    """
    d = table.shape[1]
    y = device.empty((*ids.shape, d))
    arguments = table, ids.reshape(-1), y.reshape(ids.size, d), device.flag
    device.launch(_embed, ids.size, THREADS, *arguments)
    return y
