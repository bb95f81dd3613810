"""Rows of a sequence on a GPU: a block copies one row."""

from __future__ import annotations

import numpy as np

from minigen.gpu.flag import inside
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_kernel

THREADS = 128


@gpu_kernel
def _gather(x, rows, y, flag):
    """One block per row of y (b m d): a row of x (b n d), which rows (b m) name.
    Threads stride along the row. What no row has is written as 0, and flagged.
    Reads x 0..m, rows THREADS; writes y 1.
    Shared memory: none.
    """
    i, j = cuda.blockIdx.x // rows.shape[1], cuda.blockIdx.x % rows.shape[1]
    row = rows[i, j]
    for k in range(cuda.threadIdx.x, x.shape[2], cuda.blockDim.x):
        y[i, j, k] = x[i, row, k] if inside(row, x.shape[1], flag) else np.float32(0)


@gpu_kernel
def _scatter(new, rows, x, flag):
    """One block per row of new (b m d), which goes to x where rows (b m) say.
    Threads stride along the row. What has no row is written nowhere, and flagged.
    Reads new 0..1, rows THREADS; writes x 0..1.
    Shared memory: none.
    """
    i, j = cuda.blockIdx.x // rows.shape[1], cuda.blockIdx.x % rows.shape[1]
    row = rows[i, j]
    for k in range(cuda.threadIdx.x, x.shape[2], cuda.blockDim.x):
        if inside(row, x.shape[1], flag):
            x[i, row, k] = new[i, j, k]


@gpu_kernel
def _append(new, length, cache):
    """One block per row of new (b m d), written from row `length` of cache (b n d) on.
    Threads stride along the row, and widen it.
    Reads new 1; writes cache 0..1.
    Shared memory: none.
    """
    i, j = cuda.blockIdx.x // new.shape[1], cuda.blockIdx.x % new.shape[1]
    for k in range(cuda.threadIdx.x, new.shape[2], cuda.blockDim.x):
        cache[i, length + j, k] = widen(new[i, j, k])


@gpu_kernel
def _repeat(x, y):
    """One block per row of y (b n d): a row of x (b d), which is read n times.
    Threads stride along the row, and widen it.
    Reads x n; writes y 1.
    Shared memory: none.
    """
    i, j = cuda.blockIdx.x // y.shape[1], cuda.blockIdx.x % y.shape[1]
    for k in range(cuda.threadIdx.x, y.shape[2], cuda.blockDim.x):
        y[i, j, k] = widen(x[i, k])


def gather(device, x, rows):
    """(b n d), (b m) -> (b m d)

    rows are int64 in 0 .. n - 1: any other sets the device's flag.
    """
    y = device.empty((*rows.shape, x.shape[-1]))
    if y.size:
        device.launch(_gather, rows.size, THREADS, x, rows, y, device.flag)
    return y


def scatter(device, x, new, rows):
    """(b n d), (b m d), (b m) -> (b n d)

    rows are int64 in 0 .. n - 1: any other sets the device's flag.
    """
    if new.size:
        device.launch(_scatter, rows.size, THREADS, new, rows, x, device.flag)
    return x


def append(device, cache, new, length):
    """(b n ...), (b m ...) -> (b n ...)"""
    if new.size:
        b, m = new.shape[:2]
        arguments = new.reshape(b, m, -1), length, cache.reshape(b, cache.shape[1], -1)
        device.launch(_append, b * m, THREADS, *arguments)
    return cache


def concat(device, x, y):
    """(b n d), (b m d) -> (b n+m d)"""
    b, n, d = x.shape
    z = device.empty((b, n + y.shape[1], d))
    return append(device, append(device, z, x, 0), y, n)


def repeat(device, x, n):
    """(b d) -> (b n d)"""
    b, d = x.shape
    y = device.empty((b, n, d))
    device.launch(_repeat, b * n, THREADS, x, y)
    return y
