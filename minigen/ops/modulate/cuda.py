"""Adaptive layer norm on a GPU: a thread for each cell of each token."""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _modulate(x, shift, scale, y):
    """One block per token of x (b n d) and 256 of its cells; shift, scale are (b d).
    A thread takes one cell.
    Reads x 1, shift n, scale n; writes y 1.
    Shared memory: none.
    """
    i, t = cuda.blockIdx.z, cuda.blockIdx.x
    k = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if k < x.shape[2]:
        y[i, t, k] = x[i, t, k] * (np.float32(1) + scale[i, k]) + shift[i, k]


@gpu_kernel
def _gate(x, weight, y):
    """One block per token of x (b n d) and 256 of its cells; weight is (b d).
    A thread takes one cell.
    Reads x 1, weight n; writes y 1.
    Shared memory: none.
    """
    i, t = cuda.blockIdx.z, cuda.blockIdx.x
    k = cuda.blockIdx.y * THREADS + cuda.threadIdx.x
    if k < x.shape[2]:
        y[i, t, k] = x[i, t, k] * weight[i, k]


def modulate(device, x, shift, scale):
    """(b n d), (b 1 d), (b 1 d) -> (b n d)"""
    rows = _rows(shift), _rows(scale)
    return _launch(device, _modulate, x, *rows)


def gate(device, x, weight):
    """(b n d), (b 1 d) -> (b n d)"""
    return _launch(device, _gate, x, _rows(weight))


def _launch(device, kernel, x, *rows):
    b, n, d = x.shape
    y = device.empty(x.shape)
    device.launch(kernel, (n, -(-d // THREADS), b), THREADS, x, *rows, y)
    return y


def _rows(array):
    b, _, d = array.shape
    return array.reshape((b, d))
