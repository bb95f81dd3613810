"""The step size on a GPU: a thread for each head of each token."""

from __future__ import annotations

import numpy as np

from minigen.gpu.activations import clip, softplus
from minigen.ops.intrinsics import widen
from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _step_size(x, bias, lowest, highest, y):
    """One block per 256 cells of x (n h).
    A thread takes one cell.
    Reads x 1, bias n; writes y 1.
    Shared memory: none.
    """
    cell, h = cuda.grid(1), x.shape[1]
    if cell < x.size:
        i, k = cell // h, cell % h
        delta = softplus(x[i, k] + widen(bias[k]))
        y[i, k] = clip(delta, lowest, highest)


def step_size(device, x, bias, lowest, highest):
    """(b n h), (h) -> (b n h)"""
    h = x.shape[-1]
    y = device.empty(x.shape)
    limits = np.float32(lowest), np.float32(highest)
    arguments = x.reshape((-1, h)), bias, *limits, y.reshape((-1, h))
    device.launch(_step_size, -(-x.size // THREADS), THREADS, *arguments)
    return y
