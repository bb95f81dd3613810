"""Pixel conversions on a GPU, a thread for each number.

Every rounding counts. A compiler for GPUs fuses 127.5 x + 128 into one instruction that
rounds once; the reference rounds the product and then the sum, and some pixels would
differ by one. So the kernels name their arithmetic: `fmul_rn` is a product that is
rounded to nearest and never fused, `fadd_rn` and `fdiv_rn` likewise.
"""

from __future__ import annotations

import numpy as np

from minigen.target import cuda, gpu_kernel

THREADS = 256


@gpu_kernel
def _to_pixels(x, y):
    """One block per 256 numbers of x (n).
    Each thread converts one.
    Reads x 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < x.shape[0]:
        value = cuda.libdevice.fmul_rn(x[i], np.float32(127.5))
        value = cuda.libdevice.fadd_rn(value, np.float32(128))
        value = min(max(value, np.float32(0)), np.float32(255))
        y[i] = np.uint8(np.int32(value))


@gpu_kernel
def _from_pixels(image, y):
    """One block per 256 numbers of image (n).
    Each thread converts one.
    Reads image 1; writes y 1.
    Shared memory: none.
    """
    i = cuda.grid(1)
    if i < image.shape[0]:
        share = cuda.libdevice.fdiv_rn(np.float32(image[i]), np.float32(255))
        share = cuda.libdevice.fsub_rn(share, np.float32(0.5))
        y[i] = cuda.libdevice.fdiv_rn(share, np.float32(0.5))


def to_pixels(device, x):
    """(b y x c) -> (b y x c)"""
    return _convert(device, _to_pixels, x, np.uint8)


def from_pixels(device, image):
    """(b y x c) -> (b y x c)"""
    return _convert(device, _from_pixels, image, np.float32)


def _convert(device, kernel, values, dtype):
    y = device.empty(values.shape, dtype)
    blocks = -(-values.size // THREADS)
    device.launch(kernel, blocks, THREADS, values.reshape(-1), y.reshape(-1))
    return y
