"""GELU on a GPU: a thread for each cell of the result."""

from __future__ import annotations

import math

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256

# float32 numbers here: a square root in a kernel would be one of float64
_ROOT_HALF = np.float32(math.sqrt(0.5))
_TWO_ROOTS = np.float32(2 * math.sqrt(2 / math.pi))


@gpu_kernel
def _gelu(x, y):
    """One block per 256 cells of x and y.
    A thread takes one cell.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < y.size:
        v = x[i]
        twice = np.float32(1) + math.erf(v * _ROOT_HALF)
        y[i] = np.float32(0.5) * v * twice


@gpu_kernel
def _gelu_tanh(x, y):
    """One block per 256 cells of x and y.
    A thread takes one cell; (1 + tanh u) / 2 is sigmoid(2u), by a power of at most 1.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < y.size:
        v = x[i]
        cubic = v + np.float32(0.044715) * (v * v * v)
        double = _TWO_ROOTS * cubic
        small = math.exp(-abs(double))
        share = small if double < np.float32(0) else np.float32(1)
        y[i] = v * (share / (np.float32(1) + small))


def gelu(device, x):
    """(b n d) -> (b n d)"""
    return _launch(device, _gelu, x)


def gelu_tanh(device, x):
    """(b n d) -> (b n d)"""
    return _launch(device, _gelu_tanh, x)


def _launch(device, kernel, x):
    y = device.empty(x.shape)
    arguments = x.reshape(-1), y.reshape(-1)
    device.launch(kernel, -(-x.size // THREADS), THREADS, *arguments)
    return y
