"""Group norm in two passes over the image, with sums in float64.

The first pass adds up every image row by itself, and the rows are then added in their
order, so the result depends neither on the batch nor on the number of threads. With
float64 sums E[x^2] - E[x]^2 is safe: its cancellation costs float64 digits that
float32 pixels never had.
"""

from __future__ import annotations

import numpy as np

from minigen.cpu import buffers
from minigen.cpu.scalar import exp
from minigen.target import kernel, prange, serial


@serial
def _sum_row(x, sums):
    # (x c) -> (2 c): of each channel the sum, and that of the squares
    sums[:] = 0.0
    for column in range(x.shape[0]):
        for k in range(x.shape[1]):
            v = np.float64(x[column, k])
            sums[0, k] += v
            sums[1, k] += v * v


@serial
def _moments(sums, pixels, w, r, eps, mean, scale):
    # (y 2 c), (c) -> (c), (c): of each channel the mean of its group, and w divided by
    # the deviation
    c = w.size
    width = c // r
    for group in range(r):
        total = square = 0.0
        for k in range(group * width, (group + 1) * width):
            for row in range(len(sums)):
                total += sums[row, 0, k]
                square += sums[row, 1, k]
        middle = total / (pixels * width)
        variance = max(square / (pixels * width) - middle * middle, 0.0)
        inverse = 1 / np.sqrt(variance + eps)
        for k in range(group * width, (group + 1) * width):
            mean[k], scale[k] = middle, inverse * w[k]


@serial
def _scale_row(x, mean, scale, bias, swish, out):
    # (x c), (c), (c), (c) -> (x c)
    for column in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[column, k] = (x[column, k] - mean[k]) * scale[k] + bias[k]
        if swish:
            for k in range(x.shape[1]):
                v = out[column, k]
                out[column, k] = v / (np.float32(1) + exp(-v))


@kernel
def _group_norm(x, w, bias, r, eps, swish, out):
    # (b y x c), (c), (c) -> (b y x c)
    b, y, columns, c = x.shape
    sums = np.empty((b, y, 2, c), np.float64)
    for row in prange(b * y):
        image, line = divmod(np.int64(row), y)
        _sum_row(x[image, line], sums[image, line])
    mean, scale = np.empty((b, c), np.float32), np.empty((b, c), np.float32)
    for image in range(b):
        # image by image, so that a batch cannot change the order of a sum
        _moments(sums[image], y * columns, w, r, eps, mean[image], scale[image])
    for row in prange(b * y):
        i, line = divmod(np.int64(row), y)
        _scale_row(x[i, line], mean[i], scale[i], bias, swish, out[i, line])


def group_norm(x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)"""
    return _run(x, w, bias, r, eps, False)


def group_norm_swish(x, w, bias, r, eps):
    """(b y x c), (c), (c) -> (b y x c)"""
    return _run(x, w, bias, r, eps, True)


def _run(x, w, bias, r, eps, swish):
    out = buffers.empty(x.shape)
    w, bias = buffers.floats(w), buffers.floats(bias)
    _group_norm(buffers.floats(x), w, bias, r, float(eps), swish, out)
    return out
