"""Classifier-free guidance on a GPU: a thread for each logit of the result."""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _guide(logits, weight, y):
    """One block per 256 cells of y (v); logits (2 v) are conditional, unconditional.
    A thread takes one cell.
    Reads logits 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < y.size:
        conditional, unconditional = logits[0, i], logits[1, i]
        y[i] = unconditional + (conditional - unconditional) * weight


def guide(device, logits, weight):
    """(2b m v) -> (b m v)"""
    rows = logits.shape[0]
    y = device.empty((rows // 2, *logits.shape[1:]))
    arguments = logits.reshape(2, y.size), np.float32(weight), y.reshape(-1)
    device.launch(_guide, -(-y.size // THREADS), THREADS, *arguments)
    return y
