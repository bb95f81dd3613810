"""Layer norm on a GPU: a block of threads takes the mean and the size of one row."""

from __future__ import annotations

import math

import numpy as np

from minigen.gpu.warps import block_sum
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_inline, gpu_kernel

THREADS = 128


@gpu_inline
def _moments(x, i, eps, partial):
    # the mean first: large squares would cancel to a variance without digits
    d = x.shape[1]
    total = np.float32(0)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        total += x[i, k]
    mean = block_sum(total, partial) / np.float32(d)
    squares = np.float32(0)
    for k in range(cuda.threadIdx.x, d, cuda.blockDim.x):
        away = x[i, k] - mean
        squares += away * away
    variance = block_sum(squares, partial) / np.float32(d)
    return mean, np.float32(1) / math.sqrt(variance + eps)


@gpu_kernel
def _layer_norm(x, w, bias, eps, y):
    """One block per row of x (n d).
    Threads stride along the row: for the mean, for the variance, and for the result.
    Reads x 3, w n, bias n; writes y 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i = cuda.blockIdx.x
    mean, scale = _moments(x, i, eps, partial)
    for k in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        y[i, k] = widen(w[k]) * ((x[i, k] - mean) * scale) + widen(bias[k])


@gpu_kernel
def _standardise(x, eps, y):
    """One block per row of x (n d).
    Threads stride along the row: for the mean, for the variance, and for the result.
    Reads x 3; writes y 1.
    Shared memory: 128 bytes.
    """
    partial = cuda.shared.array(32, np.float32)
    i = cuda.blockIdx.x
    mean, scale = _moments(x, i, eps, partial)
    for k in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        y[i, k] = (x[i, k] - mean) * scale


def layer_norm(device, x, w, bias, eps):
    """(b n d), (d), (d) -> (b n d)"""
    return _launch(device, _layer_norm, x, w, bias, np.float32(eps))


def standardise(device, x, eps):
    """(b n d) -> (b n d)"""
    return _launch(device, _standardise, x, np.float32(eps))


def _launch(device, kernel, x, *given):
    d = x.shape[-1]
    y = device.empty(x.shape)
    rows = x.reshape((-1, d)), *given, y.reshape((-1, d))
    device.launch(kernel, x.size // d, THREADS, *rows)
    return y
