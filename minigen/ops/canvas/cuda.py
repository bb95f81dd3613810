"""The canvas on a GPU: a thread for each cell that is written."""

from __future__ import annotations

import numpy as np

from minigen.gpu.flag import inside
from minigen.target import cuda, gpu_kernel

THREADS = 128


@gpu_kernel
def _full(value, x):
    """One block per THREADS cells of x (n).
    A thread writes one cell, its neighbour the next.
    Reads nothing; writes x 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i] = value


@gpu_kernel
def _twice(x, y):
    """One block per THREADS cells of x (n), and twice as many of y (2n).
    A thread reads one cell and writes it to both halves.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i, n = cuda.grid(1), x.shape[0]
    if i < n:
        value = x[i]
        y[i] = value
        y[i + n] = value


@gpu_kernel
def _place(tokens, positions, canvas, flag):
    """One block per THREADS cells of tokens (b m), for a canvas (b n).
    A thread carries one token to its position, where no other one goes.
    Reads tokens 0..1, positions b; writes canvas 0..1.
    Shared memory: none.
    """
    cell, m = cuda.grid(1), positions.shape[0]
    if cell < tokens.shape[0] * m:
        i, j = cell // m, cell % m
        position = positions[j]
        if inside(position, canvas.shape[1], flag):
            canvas[i, position] = tokens[i, j]


def full(device, shape, value):
    """-> (b n)"""
    return _filled(device, shape, np.int64(value))


def zeros(device, shape):
    """-> (b n)"""
    return _filled(device, shape, np.float32(0))


def _filled(device, shape, value):
    x = device.empty(shape, value.dtype)
    if x.size:
        blocks = -(-x.size // THREADS)
        device.launch(_full, blocks, THREADS, value, x.reshape(-1))
    return x


def twice(device, x):
    """(b ...) -> (2b ...)"""
    y = device.empty((2 * x.shape[0], *x.shape[1:]), x.dtype)
    if x.size:
        blocks = -(-x.size // THREADS)
        device.launch(_twice, blocks, THREADS, x.reshape(-1), y.reshape(-1))
    return y


def place(device, canvas, tokens, positions):
    """(b n), (b m), (m) -> (b n)

    A position that is not on the canvas sets the device's flag.
    """
    if tokens.size:
        blocks = -(-tokens.size // THREADS)
        given = tokens, positions, canvas, device.flag
        device.launch(_place, blocks, THREADS, *given)
    return canvas
