"""Rounded pixels on a GPU, a thread for each number.

Every rounding counts, as in `pixels`: the kernel names its products and sums, so that
no compiler fuses them into one.
"""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _to_rounded_pixels(x, y):
    """One block per 256 numbers of x (n).
    Each thread converts one.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < x.shape[0]:
        unit = cuda.libdevice.fadd_rn(x[i], np.float32(1)) * np.float32(0.5)
        value = cuda.libdevice.fmul_rn(unit, np.float32(255))
        value = min(max(value, np.float32(0)), np.float32(255))
        y[i] = np.uint8(cuda.libdevice.float2int_rn(value))


def to_rounded_pixels(device, x):
    """(b y x c) -> (b y x c)"""
    y = device.empty(x.shape, np.uint8)
    arguments = x.reshape(-1), y.reshape(-1)
    device.launch(_to_rounded_pixels, -(-x.size // THREADS), THREADS, *arguments)
    return y
